/**
 * A Discord of our own: REST and gateway on one port, over a world that changes by itself, with a ledger of
 * what was sent to whom.
 */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { systemClock } from '../src/base/index.ts'
import type { Clock, Timer } from '../src/base/index.ts'
import { GATEWAY_VERSION, Opcode, userIdOfToken } from '../src/discord/index.ts'
import { selfSigned } from './certificate.ts'
import type { Certificate } from './certificate.ts'
import { Connection } from './connection.ts'
import type { ConnectionQuery } from './connection.ts'
import { answerControl } from './control.ts'
import { injectFault, readScheduledFault, scheduleFault } from './faults.ts'
import type { FaultRequest } from './faults.ts'
import { Gateway } from './gateway.ts'
import type { Ledger } from './ledger.ts'
import { defaultOptions } from './options.ts'
import type { SimOptions } from './options.ts'
import { answerRest, sendJson } from './rest.ts'
import { listen } from './server.ts'
import type { SimServer } from './server.ts'
import type { Session } from './session.ts'
import type { SimWorld, WorldEvent } from './sim-world.ts'
import { World } from './world/index.ts'
import type { WorldOptions } from './world/index.ts'

export interface SimDependencies {
  readonly clock?: Clock
  /** Instead of the world that `seed` and `guilds` make. */
  readonly world?: SimWorld
}

/** What the simulator has done so far. */
export interface SimStats {
  readonly sessions: number
  readonly connections: number
  readonly connectedSessions: number
  readonly eventsEmitted: number
  readonly eventsDispatched: number
  readonly identifies: number
  readonly identifiesLeft: number
  readonly resumes: number
  readonly gaps: number
  readonly ledgerEvents: number
  readonly ledgerDropped: number
}

/** The world moves in ticks of this length, `rate` changes per second over all. */
const TICK_MS = 10
/** After a pause of the process the world catches up with this much at most. */
const CATCH_UP_MS_MAX = 1000

export async function startSim(
  options: Partial<SimOptions> = {},
  dependencies: SimDependencies = {},
): Promise<Sim> {
  const sim = new Sim({ ...defaultOptions(), ...options }, dependencies)
  await sim.listen()
  return sim
}

export class Sim {
  readonly gateway: Gateway
  readonly world: SimWorld
  readonly options: SimOptions
  /** What IDENTIFY and Authorization must carry, without the prefix `Bot `. */
  readonly token: string
  /** With `tls`: what a client must trust. */
  readonly certificate: Certificate | null
  readonly #clock: Clock
  #server: SimServer | undefined
  #rate: number
  #owed = 0
  #tickedAtMs = 0
  #timer: Timer | undefined
  readonly #faultTimers = new Set<Timer>()

  constructor(options: SimOptions, dependencies: SimDependencies) {
    this.options = options
    this.#clock = dependencies.clock ?? systemClock
    this.world = dependencies.world ?? new World(worldOptions(options))
    this.token = options.token || tokenOf(this.world.botUser['id'] as bigint)
    this.#rate = options.rate
    this.certificate = options.tls
      ? selfSigned([...new Set(['localhost', '127.0.0.1', options.host])], this.#clock.now())
      : null
    this.gateway = new Gateway({
      options,
      world: this.world,
      clock: this.#clock,
      token: this.token,
      gatewayUrl: (host) => this.#gatewayUrlOf(host),
    })
  }

  /** For `-discord-api`: `http(s)://host:port/api/v10`. */
  get apiUrl(): string {
    return `${this.url}/api/v10`
  }

  /** Base of REST and of the control endpoint, without a slash at the end. */
  get url(): string {
    return `${this.options.tls ? 'https' : 'http'}://${this.#authority}`
  }

  get gatewayUrl(): string {
    return this.#gatewayUrlOf(this.#authority)
  }

  get ledger(): Ledger {
    return this.gateway.ledger
  }

  get sessions(): Session[] {
    return [...this.gateway.sessions.values()]
  }

  get rate(): number {
    return this.#rate
  }

  /** @throws SimError SIM_BAD_FAULT before anything listens */
  async listen(): Promise<void> {
    const faults = this.options.faults.map(readScheduledFault)
    this.#server = await listen({
      host: this.options.host,
      port: this.options.port,
      certificate: this.certificate,
      onRequest: (request, response) => {
        const write = (id: bigint, text: string) => this.writeMessage(id, text, true)
        const gatewayUrl = this.#gatewayUrlOf(request.headers.host ?? this.#authority)
        if (answerRest(this.gateway, gatewayUrl, write, request, response)) return
        if (answerControl(this, request, response)) return
        sendJson(response, 404, { message: '404: Not Found', code: 0 })
      },
      refuseUpgrade: (request) => this.#refuseUpgrade(request.headers['user-agent']),
      onConnection: (ws, socket, url) => this.#onConnection(ws, socket, url),
    })
    for (const fault of faults) scheduleFault(this, this.#clock, fault, this.#faultTimers)
    this.resume()
  }

  async stop(): Promise<void> {
    this.pause()
    for (const timer of this.#faultTimers) this.#clock.clearTimeout(timer)
    await this.#server?.close()
    this.gateway.stop()
  }

  /** The world stands still until resume(). */
  pause(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }

  resume(): void {
    if (this.#timer !== undefined || this.#rate === 0) return
    this.#tickedAtMs = this.#clock.monotonic()
    this.#schedule()
  }

  /** Changes of the world per second. */
  setRate(rate: number): void {
    this.pause()
    this.#rate = rate
    this.resume()
  }

  /** Changes the world `count` times and sends what Discord would send. */
  step(count = 1): void {
    for (let index = 0; index < count; index++) {
      for (const event of this.world.step()) this.gateway.events.emit(event)
    }
  }

  emit(event: WorldEvent): void {
    this.gateway.events.emit(event)
  }

  /**
   * Somebody writes a message in a channel, null = any.
   *
   * @returns its event, which was emitted; null where nobody can write.
   */
  writeMessage(channelId: bigint | null, content: string, isBot = false): WorldEvent | null {
    const [event] = this.world.writeMessage({ channelId, content, isBot })
    if (event === undefined) return null
    this.emit(event)
    return event
  }

  /** @throws SimError SIM_BAD_FAULT, SIM_NO_SESSION */
  fault(request: FaultRequest): void {
    injectFault(this.gateway, request)
  }

  stats(): SimStats {
    const { gateway, ledger } = this
    return {
      sessions: gateway.sessions.size,
      connections: gateway.connections.size,
      connectedSessions: this.sessions.filter((session) => session.reader !== null).length,
      eventsEmitted: gateway.events.emitted,
      eventsDispatched: gateway.events.dispatched,
      identifies: ledger.identifies.filter((identify) => identify.outcome === 'ready').length,
      identifiesLeft: gateway.budget.left,
      resumes: ledger.resumes.filter((resume) => resume.outcome === 'resumed').length,
      gaps: ledger.gaps().length,
      ledgerEvents: ledger.size,
      ledgerDropped: ledger.dropped,
    }
  }

  #gatewayUrlOf(host: string): string {
    return `${this.options.tls ? 'wss' : 'ws'}://${host}`
  }

  get #authority(): string {
    const { host } = this.options
    return `${host.includes(':') ? `[${host}]` : host}:${this.#server?.port ?? this.options.port}`
  }

  #schedule(): void {
    this.#timer = this.#clock.setTimeout(() => {
      this.#tick()
      this.#schedule()
    }, TICK_MS)
  }

  #tick(): void {
    const now = this.#clock.monotonic()
    const elapsedMs = Math.min(now - this.#tickedAtMs, CATCH_UP_MS_MAX)
    this.#tickedAtMs = now
    this.#owed += (elapsedMs * this.#rate) / 1000
    const count = Math.floor(this.#owed)
    this.#owed -= count
    this.step(count)
  }

  #refuseUpgrade(userAgent: string | undefined): number | null {
    if (this.gateway.nextFaults.take('refuse-connection', -1) !== null) return 503
    if (this.gateway.takes('require-user-agent') && !userAgent) return 400
    return null
  }

  #onConnection(ws: WebSocket, socket: Duplex, url: URL): void {
    const { query, refusal } = readQuery(url, this.options)
    const connection = new Connection(this.gateway, ws, socket, query)
    this.gateway.connections.add(connection)
    if (refusal !== null) return connection.close(refusal.code, refusal.reason)
    if (this.options.helloMs === 0) this.#greet(connection)
    else this.gateway.later(() => this.#greet(connection), this.options.helloMs)
  }

  #greet(connection: Connection): void {
    if (connection.isClosed) return
    if (this.gateway.nextFaults.take('no-hello', -1) !== null) return
    if (this.gateway.nextFaults.take('reconnect-before-hello', -1) !== null) {
      return connection.sendControl(Opcode.Reconnect, null)
    }
    connection.hello()
  }
}

function worldOptions(options: SimOptions): WorldOptions {
  const { seed, guilds, membersMax, membersMedian, nastyText, largeGuildMembers } = options
  const botUserId = userIdOfToken(options.token)
  return {
    seed,
    guilds,
    membersMax,
    membersMedian,
    nastyText,
    largeGuildMembers,
    // A token names its bot: the world's bot is the one of the token that is accepted.
    ...(botUserId === null ? {} : { botUserId: BigInt(botUserId) }),
  }
}

/** `base64url(user id).……`: of the shape that Discord's tokens have. */
function tokenOf(userId: bigint): string {
  return `${Buffer.from(userId.toString()).toString('base64url')}.SimSim.not-a-secret-of-anybody-00000000`
}

function readQuery(
  url: URL,
  options: SimOptions,
): { query: ConnectionQuery; refusal: { code: number; reason: string } | null } {
  const encoding = url.searchParams.get('encoding') ?? 'json'
  const compress = url.searchParams.get('compress') ?? 'none'
  const known = options.compressions.find((name) => name === compress)
  const query: ConnectionQuery = {
    encoding: encoding === 'etf' ? 'etf' : 'json',
    compress: compress === 'none' ? 'none' : (known ?? 'none'),
    host: url.host,
  }
  if (url.searchParams.get('v') !== String(GATEWAY_VERSION)) {
    return { query, refusal: { code: 4012, reason: 'Invalid API version.' } }
  }
  if (encoding !== 'etf' && encoding !== 'json') {
    return { query, refusal: { code: 4002, reason: 'Invalid encoding.' } }
  }
  if (compress !== 'none' && known === undefined) {
    return { query, refusal: { code: 4002, reason: 'Invalid compression.' } }
  }
  return { query, refusal: null }
}
