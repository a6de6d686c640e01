/**
 * One address for the gRPC of several workers: each connection is passed, byte by byte, to the next worker in turn
 * that takes it. Any worker answers for the fleet.
 */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { cannotListen, formatAddress, parseListenAddress } from '../../src/server/index.ts'

/** A worker of this host that does not take a connection within this time is passed over. */
const CONNECT_TIMEOUT_MS = 1000
/** Further ones are closed at once. Which of them say nothing the workers see, and close. */
const CONNECTIONS_MAX = 8192

export class GrpcFront {
  readonly #server: Server
  readonly #addresses: () => readonly string[]
  readonly #sockets = new Set<Socket>()
  #turn = 0

  private constructor(addresses: () => readonly string[]) {
    this.#addresses = addresses
    this.#server = createServer((client) => this.#onClient(client))
    this.#server.maxConnections = CONNECTIONS_MAX
  }

  /** @param addresses of the workers that listen now, asked for each connection. @throws ServerError */
  static async start(address: string, addresses: () => readonly string[]): Promise<GrpcFront> {
    const front = new GrpcFront(addresses)
    const { host, port } = parseListenAddress(address, 'addr')
    await new Promise<void>((resolve, reject) => {
      front.#server.once('error', (error) => reject(cannotListen(address, 'addr', error)))
      front.#server.listen(port, host, resolve)
    })
    return front
  }

  get address(): string {
    const { address: host, port } = this.#server.address() as AddressInfo
    return formatAddress({ host, port })
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #onClient(client: Socket): void {
    this.#keep(client)
    const addresses = this.#addresses()
    const first = this.#turn++
    const order = addresses.map((_, index) => addresses[(first + index) % addresses.length]!)
    this.#pass(client, order)
  }

  #pass(client: Socket, order: readonly string[]): void {
    const [address, ...others] = order
    if (address === undefined) {
      client.destroy()
      return
    }
    const { host, port } = parseListenAddress(address, 'addr')
    const worker = connect({ host, port, timeout: CONNECT_TIMEOUT_MS })
    this.#keep(worker)
    const next = (): void => {
      worker.destroy()
      this.#pass(client, others)
    }
    worker.once('error', next)
    worker.once('timeout', next)
    worker.once('connect', () => {
      worker.setTimeout(0)
      worker.removeListener('error', next)
      worker.removeListener('timeout', next)
      client.once('close', () => worker.destroy())
      worker.once('close', () => client.destroy())
      client.pipe(worker).pipe(client)
    })
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => this.#sockets.delete(socket))
  }
}
