/**
 * The listening side: HTTP and websocket upgrades on one port, plain or TLS. Who answers what is handed in.
 */
import { createServer as createHttpServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import type { WebSocket } from 'ws'
import type { Certificate } from './certificate.ts'

export interface ServerFacts {
  readonly host: string
  readonly port: number
  /** Null: plain HTTP and ws. */
  readonly certificate: Certificate | null
  onRequest(request: IncomingMessage, response: ServerResponse): void
  /** Null: take the upgrade. Else the HTTP status with which it is refused. */
  refuseUpgrade(request: IncomingMessage): number | null
  onConnection(ws: WebSocket, socket: Duplex, url: URL): void
}

export interface SimServer {
  readonly port: number
  close(): Promise<void>
}

/** Far above the 4,096 bytes that Discord takes, so that these get close code 4002, not 1009. */
const MESSAGE_BYTES_MAX = 1024 * 1024

export async function listen(facts: ServerFacts): Promise<SimServer> {
  const { certificate } = facts
  const server =
    certificate === null
      ? createHttpServer()
      : createHttpsServer({ cert: certificate.cert, key: certificate.key })
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MESSAGE_BYTES_MAX,
    clientTracking: false,
    autoPong: false,
  })
  const open = new Set<Duplex>()
  server.on('connection', (socket: Duplex) => {
    open.add(socket)
    socket.on('close', () => open.delete(socket))
  })
  server.on('request', (request, response) => facts.onRequest(request, response))
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => undefined)
    const base = `http://${request.headers.host ?? 'gateway'}`
    const url = URL.parse(request.url ?? '/', base)
    const status = url === null ? 400 : facts.refuseUpgrade(request)
    if (url === null || status !== null) {
      socket.end(`HTTP/1.1 ${status} Refused\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
      return
    }
    sockets.handleUpgrade(request, socket, head, (ws) => {
      facts.onConnection(ws, socket, url)
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(facts.port, facts.host, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    close: () => closeServer(server, open),
  }
}

function closeServer(server: Server, open: ReadonlySet<Duplex>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    for (const socket of open) socket.destroy()
  })
}
