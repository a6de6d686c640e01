/** Who gets which event: by shard, intents and what the session may see; encoded once, numbered, kept in the ledger. */
import type { Clock } from '../src/base/index.ts'
import { EVENTS, isEventName } from '../src/discord/index.ts'
import type { Connection } from './connection.ts'
import { EncodedEvent } from './encoded-event.ts'
import type { Ledger } from './ledger.ts'
import { optionalFields, unknownEvent } from './liberties.ts'
import type { Liberty } from './options.ts'
import { Routes } from './routes.ts'
import type { Session } from './session.ts'
import type { ClientView, SimWorld, WorldEvent } from './sim-world.ts'
import type { EtfWriter } from './wire/etf-writer.ts'
import type { WireMap, WireValue } from './wire/value.ts'

const DUPLICATE_EVERY = 50
const UNKNOWN_EVERY = 100
/** An op that no server sends. */
const UNKNOWN_OP = 77

export interface DispatcherFacts {
  readonly world: SimWorld
  readonly clock: Clock
  readonly writer: EtfWriter
  readonly ledger: Ledger
  readonly liberties: ReadonlySet<Liberty>
}

export class Dispatcher {
  readonly routes = new Routes()
  /** Events of the world, whether anybody got them or not. */
  emitted = 0
  /** Events to sessions. */
  dispatched = 0
  readonly #facts: DispatcherFacts

  constructor(facts: DispatcherFacts) {
    this.#facts = facts
  }

  /** Sends an event to the sessions whose shard and intents it concerns. */
  emit(event: WorldEvent): void {
    this.emitted++
    const intents = event.intents ?? (isEventName(event.t) ? EVENTS[event.t] : 0)
    /** One rendering for sessions with the same view, and one encoding for all renderings that are the same. */
    const rendered = new Map<string, EncodedEvent | null>()
    const encoded = new Map<WireMap, EncodedEvent>()
    for (const { sessions, lastEnd } of this.routes.to(event.guildId)) {
      if (lastEnd !== null && (intents === 0 || (lastEnd.intents & intents) !== 0)) {
        lastEnd.end.unheard++
      }
      for (const session of sessions) {
        if (intents !== 0 && (session.view.intents & intents) === 0) continue
        if (event.guildId !== null && session.stubs.has(event.guildId)) continue
        const key = `${session.view.intents}:${session.view.largeThreshold}`
        let result = rendered.get(key)
        if (result === undefined) {
          result = this.#render(event, session.view, encoded)
          rendered.set(key, result)
        }
        if (result !== null) this.#append(session, result)
      }
    }
    if (this.#facts.liberties.has('unknown-events') && this.emitted % UNKNOWN_EVERY === 0) {
      this.#sendUnknown()
    }
  }

  /** Sends an event to one session, whatever its intents. */
  tell(session: Session, t: string, d: WireMap, guildId: bigint | null = null): void {
    this.#append(session, new EncodedEvent(t, guildId, d, this.#facts.writer))
  }

  tellGuild(session: Session, guildId: bigint): void {
    this.tell(
      session,
      'GUILD_CREATE',
      this.#facts.world.guildCreate(guildId, session.view),
      guildId,
    )
  }

  /** The bot's own presence, by op 3 or in an identify. */
  updatePresence(status: string, activities: readonly WireValue[]): void {
    const { world } = this.#facts
    for (const event of world.updatePresence({ status, activities })) this.emit(event)
  }

  #append(session: Session, event: EncodedEvent): void {
    const { clock, ledger, liberties } = this.#facts
    const isTwice =
      liberties.has('duplicate-events') &&
      session.sequence % DUPLICATE_EVERY === DUPLICATE_EVERY - 1
    for (let time = 0; time < (isTwice ? 2 : 1); time++) {
      this.dispatched++
      session.append(event, (s) =>
        ledger.record({
          atMs: clock.now(),
          session: session.id,
          shard: session.shardId,
          shardCount: session.shardCount,
          s,
          t: event.t,
          guildId: event.guildId,
          hash: event.hash,
          d: event.etf,
        }),
      )
    }
  }

  #render(
    event: WorldEvent,
    view: ClientView,
    encoded: Map<WireMap, EncodedEvent>,
  ): EncodedEvent | null {
    const { world, writer, liberties } = this.#facts
    const d = world.render(event, view)
    if (d === null) return null
    let result = encoded.get(d)
    if (result === undefined) {
      const fields = liberties.has('nil-fields') ? optionalFields(event.t, d) : d
      result = new EncodedEvent(event.t, event.guildId, fields, writer)
      encoded.set(d, result)
    }
    return result
  }

  #sendUnknown(): void {
    const { t, d } = unknownEvent(this.emitted)
    for (const session of this.routes.sessions()) {
      this.tell(session, t, d)
      const connection = session.reader as Connection | null
      if (connection !== null && connection.cursor === null) connection.sendControl(UNKNOWN_OP, d)
    }
  }
}
