/** READY as Discord sends it, with the fields that its documentation leaves out. See [Discord Docs/Gateway Events#ready]. */
import type { Session } from './session.ts'
import type { SimWorld } from './sim-world.ts'
import type { WireMap } from './wire/value.ts'

export const RESUMED_TRACE =
  '["gateway-prd-sim-1",{"micros":1200,"calls":["discord-sessions-sim-1",{"micros":900}]}]'

export interface ReadyFacts {
  readonly world: SimWorld
  readonly session: Session
  readonly guildIds: readonly bigint[]
  readonly resumeUrl: string
  readonly version: number
}

export function readyOf({ world, session, guildIds, resumeUrl, version }: ReadyFacts): WireMap {
  return {
    v: version,
    user_settings: {},
    user: world.botUser,
    shard: [session.shardId, session.shardCount],
    session_type: 'normal',
    session_id: session.id,
    resume_gateway_url: resumeUrl,
    relationships: [],
    private_channels: [],
    presences: [],
    guilds: guildIds.map((id) => ({ unavailable: true, id })),
    guild_join_requests: [],
    geo_ordered_rtc_regions: ['rotterdam', 'frankfurt', 'stockholm', 'madrid', 'milan'],
    game_relationships: [],
    auth: {},
    application: world.application,
    _trace: [RESUMED_TRACE],
  }
}
