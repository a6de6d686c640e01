/**
 * Which sessions an event of a guild comes to. Several shard counts may be in use at once, and several
 * sessions may share a shard. See [Discord Docs/Gateway#sharding].
 */
import { shardOfGuild } from '../src/discord/index.ts'
import type { LedgerEnd } from './ledger.ts'
import type { Session } from './session.ts'

export interface Route {
  readonly sessions: Set<Session>
  /** The end of the shard's last session, while it has no other. */
  lastEnd: { readonly end: LedgerEnd; readonly intents: number } | null
}

export class Routes {
  readonly #byCount = new Map<number, Map<number, Route>>()

  add(session: Session): void {
    const route = this.of(session)
    route.lastEnd = null
    for (const other of route.sessions) if (other.reader === null) other.successor ??= session.id
    route.sessions.add(session)
  }

  /** @returns the route, which stays for the shard's next session. */
  remove(session: Session, end: LedgerEnd): void {
    const route = this.of(session)
    route.sessions.delete(session)
    if (route.sessions.size === 0) route.lastEnd = { end, intents: session.view.intents }
  }

  of(session: Session): Route {
    let shards = this.#byCount.get(session.shardCount)
    if (shards === undefined) {
      shards = new Map()
      this.#byCount.set(session.shardCount, shards)
    }
    let route = shards.get(session.shardId)
    if (route === undefined) {
      route = { sessions: new Set(), lastEnd: null }
      shards.set(session.shardId, route)
    }
    return route
  }

  /** The routes of a guild's events, one for each shard count; without a guild those of shard 0. */
  *to(guildId: bigint | null): Generator<Route> {
    for (const [shardCount, shards] of this.#byCount) {
      const route = shards.get(guildId === null ? 0 : shardOfGuild(guildId, shardCount))
      if (route !== undefined) yield route
    }
  }

  *sessions(): Generator<Session> {
    for (const shards of this.#byCount.values()) {
      for (const route of shards.values()) yield* route.sessions
    }
  }
}
