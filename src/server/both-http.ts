/**
 * HTTP/1.1 and cleartext HTTP/2 on one port, as the ancestor's `state` offers it. A client that speaks
 * HTTP/2 without TLS ("prior knowledge") begins with a preface that no HTTP/1.1 request begins with; the
 * first bytes of a connection decide who gets the socket. See [RFC 9113 §3.3, §3.4].
 *
 *   50 52 49 20 2a 20 48 54 54 50 2f 32 2e 30 …     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import {
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2'
import type { Socket } from 'node:net'
import { ConnectionLimit } from './connection-limit.ts'

const PREFACE = Buffer.from('PRI ')
/** Enough for a thousand ids in a query. */
const HEADER_BYTES_MAX = 64 * 1024
const FIRST_BYTES_TIMEOUT_MS = 10_000
const HEADERS_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 30_000
/** Longer than the 60 s that load balancers keep an idle connection, so that they close it, not we. */
const KEEP_ALIVE_TIMEOUT_MS = 75_000
const STREAMS_PER_SESSION_MAX = 256
/** How often the two timeouts of a request are looked at. Node's own 30 s would let a slow one have 40 s. */
const TIMEOUT_CHECK_MS = 1_000

type Handler = (request: IncomingMessage, response: ServerResponse) => void

export interface BothHttp {
  /** Listens, and counts every connection of either protocol as its own. */
  readonly server: Server
  /**
   * Ends what is idle: connections without a request, sessions of HTTP/2 once their streams are done. To
   * be called again after each answer that was still under way.
   */
  closeIdle(): void
  /** Cuts what is still open. */
  destroy(): void
}

export function createBothHttp(handler: Handler): BothHttp {
  const sessions = new Set<ServerHttp2Session>()
  const undecided = new Set<Socket>()
  const server = createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    },
    handler,
  )
  const http2 = createHttp2Server(
    {
      settings: {
        maxConcurrentStreams: STREAMS_PER_SESSION_MAX,
        maxHeaderListSize: HEADER_BYTES_MAX,
      },
    },
    // Node's compatibility layer: the same calls on another class.
    handler as unknown as (request: Http2ServerRequest, response: Http2ServerResponse) => void,
  )
  http2.on('session', (session) => {
    sessions.add(session)
    // One that opens no stream is treated as a connection without a request.
    let isUsed = false
    session.setTimeout(FIRST_BYTES_TIMEOUT_MS)
    session.once('stream', () => {
      isUsed = true
      session.setTimeout(KEEP_ALIVE_TIMEOUT_MS)
    })
    session.on('timeout', () => {
      if (isUsed) session.close()
      else session.destroy()
    })
    session.once('close', () => sessions.delete(session))
    session.on('error', () => session.destroy())
  })
  http2.on('sessionError', () => undefined)

  const http1 = server.listeners('connection') as ((socket: Socket) => void)[]
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    undecided.add(socket)
    socket.once('close', () => undecided.delete(socket))
    peek(socket, (isHttp2) => {
      undecided.delete(socket)
      if (isHttp2) http2.emit('connection', socket)
      else for (const listener of http1) listener.call(server, socket)
    })
  })
  const limit = new ConnectionLimit()
  limit.watch(server)
  limit.watchHttp2(http2)
  return {
    server,
    closeIdle() {
      for (const socket of undecided) socket.destroy()
      for (const session of sessions) session.close()
      server.closeIdleConnections()
    },
    destroy() {
      for (const session of sessions) session.destroy()
      server.closeAllConnections()
    },
  }
}

/** Reads until the first bytes tell the protocol, and puts them back. */
function peek(socket: Socket, decided: (isHttp2: boolean) => void): void {
  socket.setTimeout(FIRST_BYTES_TIMEOUT_MS)
  socket.on('timeout', onGone)
  socket.on('error', onGone)
  socket.on('end', onGone)
  socket.on('readable', onReadable)

  let held: Buffer = Buffer.alloc(0)

  function onReadable(): void {
    const bytes = socket.read() as Buffer | null
    if (bytes === null) return
    held = held.length === 0 ? bytes : Buffer.concat([held, bytes])
    const length = Math.min(held.length, PREFACE.length)
    const isPrefix = held.compare(PREFACE, 0, length, 0, length) === 0
    // Put back only when it is decided: whatever is put back makes the socket readable again.
    if (isPrefix && length < PREFACE.length) return
    socket.off('readable', onReadable)
    socket.off('timeout', onGone)
    socket.off('error', onGone)
    socket.off('end', onGone)
    socket.setTimeout(0)
    socket.unshift(held)
    decided(isPrefix)
  }

  function onGone(): void {
    socket.destroy()
  }
}
