/** A TCP proxy in front of a server, for one of its clients: it can be cut without the others noticing. */
import {
  createConnection,
  createServer,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net'

export class TcpProxy {
  readonly #server: Server
  readonly #targetPort: number
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  /** Came while nothing was let through without a word. */
  readonly #unanswered = new Set<Socket>()
  #mode: 'open' | 'cut' | 'mute' = 'open'

  private constructor(targetPort: number) {
    this.#targetPort = targetPort
    this.#server = createServer((socket) => this.#onConnection(socket))
  }

  static async start(targetPort: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(targetPort)
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject)
      proxy.#server.listen(0, '127.0.0.1', resolve)
    })
    return proxy
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Connections are reset, new ones too. */
  cut(): void {
    this.#mode = 'cut'
    this.#end()
  }

  /** Connections stay, and nothing passes. */
  mute(): void {
    this.#mode = 'mute'
    for (const [a, b] of this.#pairs) for (const socket of [a, b]) socket.pause()
  }

  /** What was held passes; who was not answered is reset. */
  heal(): void {
    this.#mode = 'open'
    for (const [a, b] of this.#pairs) for (const socket of [a, b]) socket.resume()
    for (const socket of this.#unanswered) socket.resetAndDestroy()
  }

  async stop(): Promise<void> {
    this.cut()
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
  }

  #onConnection(client: Socket): void {
    client.on('error', () => undefined)
    if (this.#mode === 'cut') {
      client.resetAndDestroy()
      return
    }
    if (this.#mode === 'mute') {
      this.#unanswered.add(client)
      client.once('close', () => this.#unanswered.delete(client))
      return
    }
    const server = createConnection({ host: '127.0.0.1', port: this.#targetPort })
    const pair = [client, server] as const
    this.#pairs.add(pair)
    for (const [from, to] of [pair, [server, client] as const]) {
      from.on('error', () => undefined)
      from.on('data', (chunk) => to.write(chunk))
      from.on('end', () => to.end())
      from.on('close', () => {
        to.destroy()
        this.#pairs.delete(pair)
      })
    }
  }

  #end(): void {
    for (const [a, b] of this.#pairs) {
      a.resetAndDestroy()
      b.destroy()
    }
    for (const socket of this.#unanswered) socket.resetAndDestroy()
  }
}
