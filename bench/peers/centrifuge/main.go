// centrifuge with its memory broker and history, which its recovery after a reconnect needs; anybody may connect.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/centrifugal/centrifuge"
)

const channel = "bench"

// Event is what is made around the data that was given, of the size of Nuncio's.
type Event struct {
	ID       string          `json:"id"`
	Type     string          `json:"type"`
	Time     string          `json:"time"`
	Data     json.RawMessage `json:"data"`
	Sequence uint64          `json:"sequence"`
	Cursor   string          `json:"cursor"`
}

func newEvent(sequence uint64, data json.RawMessage) Event {
	return Event{
		ID:       fmt.Sprintf("0192f1a4-7c55-7b3e-9a51-%012d", sequence),
		Type:     "message",
		Time:     "2026-01-01T00:00:00.000000Z",
		Data:     data,
		Sequence: sequence,
		Cursor:   fmt.Sprintf("AQEBBCr1TQ%08d", sequence),
	}
}

func main() {
	node, err := centrifuge.New(centrifuge.DefaultConfig)
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			answer(centrifuge.SubscribeReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	var published uint64
	http.HandleFunc("/publish", func(response http.ResponseWriter, request *http.Request) {
		var input struct {
			Data json.RawMessage `json:"data"`
		}
		if err := json.NewDecoder(request.Body).Decode(&input); err != nil {
			http.Error(response, err.Error(), http.StatusBadRequest)
			return
		}
		event, err := json.Marshal(newEvent(atomic.AddUint64(&published, 1)-1, input.Data))
		if err == nil {
			_, err = node.Publish(channel, event, centrifuge.WithHistory(1000, time.Minute))
		}
		if err != nil {
			http.Error(response, err.Error(), http.StatusInternalServerError)
			return
		}
		response.WriteHeader(http.StatusCreated)
	})
	http.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{}))
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
