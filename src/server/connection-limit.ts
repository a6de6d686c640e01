/**
 * How many connections a listener has. Whoever opens thousands and says nothing, or not all of a request, takes the place
 * of his own older ones: those that have sent a request are not touched, and new ones get in.
 */
import type { Http2Server, ServerHttp2Session } from 'node:http2'
import type { Server, Socket } from 'node:net'

/** All of a listener; further ones are closed at once. */
const CONNECTIONS_MAX = 4096
/** Those that have not sent a whole request head yet; the oldest makes room for one more. */
const SILENT_MAX = 1024

export class ConnectionLimit {
  /** In the order in which they came. */
  readonly #silent = new Set<Socket>()
  readonly #sockets = new WeakMap<ServerHttp2Session, Socket>()
  #handed: Socket | undefined

  /** HTTP/1.1, or the socket of both protocols. */
  watch(server: Server): void {
    server.maxConnections = CONNECTIONS_MAX
    server.prependListener('connection', (socket: Socket) => this.#admit(socket))
    server.on('request', ({ socket }: { readonly socket: Socket }) => this.#silent.delete(socket))
  }

  /** Sockets come by its event `connection`, from the network or from {@link watch}'s server. */
  watchHttp2(server: Http2Server): void {
    server.prependListener('connection', (socket: Socket) => {
      if (!this.#silent.has(socket)) this.#admit(socket)
      this.#handed = socket
    })
    // Within the listeners of `connection`: it is the socket that was handed over last.
    server.on('session', (session) => {
      if (this.#handed !== undefined) this.#sockets.set(session, this.#handed)
    })
    server.on('stream', ({ session }) => {
      const socket =
        session === undefined ? undefined : this.#sockets.get(session as ServerHttp2Session)
      if (socket !== undefined) this.#silent.delete(socket)
    })
  }

  #admit(socket: Socket): void {
    this.#silent.add(socket)
    socket.once('close', () => this.#silent.delete(socket))
    if (this.#silent.size <= SILENT_MAX) return
    const [oldest] = this.#silent
    oldest?.destroy()
    this.#silent.delete(oldest!)
  }
}

/** The same for a listener that is HTTP/2 alone. */
export function limitHttp2(server: Http2Server): void {
  server.maxConnections = CONNECTIONS_MAX
  new ConnectionLimit().watchHttp2(server)
}
