/** What follows an IDENTIFY that was accepted: a session, READY, and its guilds. See [Discord Docs/Gateway Events#ready]. */
import { randomBytes } from 'node:crypto'
import { EVENTS } from '../src/discord/index.ts'
import type { Connection } from './connection.ts'
import type { Gateway } from './gateway.ts'
import type { Identify } from './identify.ts'
import { readyOf } from './ready.ts'
import { replayCapacity, Session } from './session.ts'
import type { WireValue } from './wire/value.ts'

export function newSession(gateway: Gateway, connection: Connection, request: Identify): Session {
  const { options, world } = gateway
  const { shardId, shardCount, intents, largeThreshold } = request
  const guilds = world.guildIds(shardId, shardCount).length
  connection.compressesPayloads =
    request.compress && connection.query.encoding === 'json' && connection.query.compress === 'none'
  return new Session({
    id: randomBytes(16).toString('hex'),
    shardId,
    shardCount,
    view: { intents, largeThreshold, botUserId: world.botUser['id'] as bigint },
    replayCapacity: options.replayEvents || replayCapacity(guilds),
    query: connection.queryText,
    firstSequence: gateway.takes('ready-zero') ? -1 : 0,
  })
}

/** READY, then a GUILD_CREATE for each guild, then the presence that the identify brought. */
export function greetSession(
  gateway: Gateway,
  session: Session,
  request: Identify,
  resumeUrl: string,
): void {
  const { events, world } = gateway
  const guildIds = world.guildIds(session.shardId, session.shardCount)
  const version = gateway.takes('ready-version') ? 9 : 10
  events.tell(session, 'READY', readyOf({ world, session, guildIds, resumeUrl, version }))
  // Without GUILDS there is no GUILD_CREATE at all.
  if ((request.intents & EVENTS.GUILD_CREATE) !== 0) sendGuilds(gateway, session, guildIds)
  const { status, activities } = request.presence ?? {}
  if (typeof status === 'string' && Array.isArray(activities)) {
    events.updatePresence(status, activities as readonly WireValue[])
  }
}

/** The first `stubs` guilds come as {id, unavailable: true}, and as a whole some time later. */
function sendGuilds(gateway: Gateway, session: Session, guildIds: readonly bigint[]): void {
  const { events, options } = gateway
  for (const [index, guildId] of guildIds.entries()) {
    if (index < options.stubs) {
      session.stubs.add(guildId)
      events.tell(session, 'GUILD_CREATE', { id: guildId, unavailable: true }, guildId)
    } else {
      events.tellGuild(session, guildId)
    }
  }
  if (session.stubs.size === 0) return
  gateway.later(() => {
    for (const guildId of session.stubs) {
      session.stubs.delete(guildId)
      if (session.end === null && gateway.hasGuild(session, guildId)) {
        events.tellGuild(session, guildId)
      }
    }
  }, options.stubMs)
}
