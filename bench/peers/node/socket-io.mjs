// Socket.IO with one room that everybody is in.

import { createServer } from "node:http";
import { Server } from "socket.io";
import { takePosts } from "./event.mjs";

const http = createServer();
const io = new Server(http, { transports: ["websocket"] });
io.on("connection", (socket) => socket.join("bench"));
http.on("request", takePosts((event) => io.to("bench").emit("event", event)));
http.listen(Number(process.argv[2]), "127.0.0.1");
