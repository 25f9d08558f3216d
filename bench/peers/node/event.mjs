// The event that both servers make around the data they are given, of the size of Nuncio's, and the way in for it.

export function makeEvent(sequence, data) {
  const digits = String(sequence);
  return {
    id: `0192f1a4-7c55-7b3e-9a51-${digits.padStart(12, "0")}`,
    type: "message",
    time: "2026-01-01T00:00:00.000000Z",
    data,
    sequence,
    cursor: `AQEBBCr1TQ${digits.padStart(8, "0")}`,
  };
}

/** A listener for HTTP requests that hands on what is posted to /publish. */
export function takePosts(publish) {
  let sequence = 0;
  return (request, response) => {
    if (request.url !== "/publish") return;
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      publish(makeEvent(sequence++, JSON.parse(Buffer.concat(parts).toString()).data));
      response.writeHead(201, { "content-length": 0 }).end();
    });
  };
}
