/** A gateway that does exactly what a test tells it, on a real websocket; for what the simulator never does. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'
import type { WebSocket } from 'ws'
import { decodeTerm, encodeTerm } from '../../src/etf/index.ts'
import { until } from '../support/until.ts'
import { Compressor } from './compressor.ts'

export interface Received {
  readonly op: number
  readonly d: unknown
}

/** One client's connection, seen from the server. */
export class FakePeer {
  readonly query: URLSearchParams
  readonly path: string
  readonly userAgent: string
  readonly received: Received[] = []
  /** Close code that the client sent; null while open. */
  closeCode: number | null = null
  readonly #socket: WebSocket
  readonly #isEtf: boolean
  readonly #compressor: Compressor | null
  #sending: Promise<void> = Promise.resolve()

  constructor(socket: WebSocket, url: URL, userAgent: string) {
    this.#socket = socket
    this.query = url.searchParams
    this.path = url.pathname
    this.userAgent = userAgent
    this.#isEtf = url.searchParams.get('encoding') === 'etf'
    const compress = url.searchParams.get('compress')
    this.#compressor =
      compress === 'zlib-stream' || compress === 'zstd-stream' ? new Compressor(compress) : null
    socket.on('message', (data: Buffer) => {
      const payload = this.#isEtf ? decodeTerm(data) : JSON.parse(data.toString('utf8'))
      this.received.push(payload as Received)
    })
    socket.on('close', (code) => {
      this.closeCode = code
    })
  }

  /** Sends one payload; keys that are left out are absent on the wire. */
  send(payload: Readonly<Record<string, unknown>>): Promise<void> {
    return this.sendBytes(
      this.#isEtf ? encodeTerm(payload) : Buffer.from(JSON.stringify(payload)),
      !this.#isEtf && this.#compressor === null,
    )
  }

  /** Sends raw payload bytes, compressed as the connection is. */
  sendBytes(bytes: Uint8Array, isText = false): Promise<void> {
    this.#sending = this.#sending.then(async () => {
      const frame = this.#compressor === null ? bytes : await this.#compressor.compress(bytes)
      this.#socket.send(frame, { binary: !isText })
    })
    return this.#sending
  }

  /** Sends a websocket message as it is, past compression. */
  sendRaw(bytes: Uint8Array): void {
    this.#socket.send(bytes)
  }

  hello(intervalMs = 45_000): Promise<void> {
    return this.send({ op: 10, d: { heartbeat_interval: intervalMs }, s: null, t: null })
  }

  dispatch(t: string, s: number | undefined, d: unknown): Promise<void> {
    return this.send({ op: 0, d, s, t })
  }

  ready(sessionId: string, resumeGatewayUrl: string | null, s = 1): Promise<void> {
    const guilds: unknown[] = []
    const d = { v: 10, session_id: sessionId, resume_gateway_url: resumeGatewayUrl, guilds }
    return this.dispatch('READY', s, d)
  }

  close(code: number): void {
    this.#socket.close(code)
  }

  /** TCP is gone without a close frame. */
  drop(): void {
    this.#socket.terminate()
  }

  /** Waits for the n-th payload with this op (0-based) and gives its data. */
  async next(op: number, index = 0): Promise<unknown> {
    await until(() => this.#of(op).length > index, { what: `op ${op} number ${index}` })
    return this.#of(op)[index]!.d
  }

  #of(op: number): Received[] {
    return this.received.filter((payload) => payload.op === op)
  }
}

export class FakeGateway {
  readonly peers: FakePeer[] = []
  /** HTTP status to refuse upgrades with; 0 accepts. */
  refuseWith = 0
  readonly #server: WebSocketServer

  private constructor(server: WebSocketServer) {
    this.#server = server
    server.on('connection', (socket, request) => {
      const url = new URL(request.url ?? '/', 'ws://localhost')
      this.peers.push(new FakePeer(socket, url, request.headers['user-agent'] ?? ''))
    })
  }

  static async start(): Promise<FakeGateway> {
    let gateway: FakeGateway | null = null
    const server = new WebSocketServer({
      port: 0,
      host: '127.0.0.1',
      verifyClient: (_info, done) => {
        const status = gateway?.refuseWith ?? 0
        done(status === 0, status === 0 ? undefined : status)
      },
    })
    await once(server, 'listening')
    gateway = new FakeGateway(server)
    return gateway
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The n-th connection (0-based), once it is there. */
  async peer(index: number): Promise<FakePeer> {
    await until(() => this.peers.length > index, { what: `connection ${index}` })
    return this.peers[index]!
  }

  async stop(): Promise<void> {
    for (const client of this.#server.clients) client.terminate()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
