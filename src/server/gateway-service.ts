/** `gateway.Gateway`: the ancestor's management of the shards, of the whole fleet. See proto/gateway.proto. */
import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js'
import type { Log, Secret } from '../base/index.ts'
import { isSnowflake } from '../discord/index.ts'
import { ServerError } from './errors.ts'
import { adminGuard } from './fleet-service.ts'
import type { GatewayControl, ShardStat } from './gateway-control.ts'
import type { Peers } from './peers.ts'
import { unary } from './unary.ts'

interface ShardRequest {
  readonly shard: number
}

/** int64 as decimal text: proto-loader's `longs: String`. */
interface MembersRequest extends ShardRequest {
  readonly guild_id: string
}

interface Stat {
  readonly shard: number
  readonly status: ShardStat['status']
  readonly event_rate: number
}

export interface GatewayServiceDeps {
  readonly control: GatewayControl
  readonly peers: Peers
  readonly definition: ServiceDefinition
  readonly adminToken: Secret | null
  readonly log: Log
}

export function gatewayService(deps: GatewayServiceDeps): UntypedServiceImplementation {
  const { control, peers, definition, log } = deps
  const guard = adminGuard(deps.adminToken)
  const shardOf = ({ shard }: ShardRequest): number => shard
  const ownStats = (): Stat[] =>
    control.stats().map(({ shard, status, eventRate }) => ({
      shard,
      status,
      event_rate: Math.round(eventRate),
    }))
  return {
    Version: unary(log, () => ({ version: control.version })),
    Stats: unary(log, async (request, metadata) => {
      if (peers.isForSelf(metadata)) return { stats: ownStats() }
      const answers = await peers.askOthers<object, { stats: Stat[] }>(
        definition['Stats']!,
        request as object,
      )
      const others = [...answers.values()].flatMap((answer) => answer?.stats ?? [])
      // A shard that changes its worker may be told twice: by the one that has it now.
      const stats = new Map<number, Stat>()
      for (const stat of [...others, ...ownStats()]) {
        if (stats.get(stat.shard)?.status !== 'CONNECTED') stats.set(stat.shard, stat)
      }
      return { stats: [...stats.values()].sort((a, b) => a.shard - b.shard) }
    }),
    RestartShard: peers.unary<ShardRequest, object>(
      definition['RestartShard']!,
      shardOf,
      unary(log, async ({ shard }, metadata) => {
        guard(metadata)
        await control.restartShard(shard)
        return {}
      }),
    ),
    RequestGuildMembers: peers.unary<MembersRequest, object>(
      definition['RequestGuildMembers']!,
      shardOf,
      unary(log, async ({ guild_id, shard }, metadata) => {
        guard(metadata)
        // Signed on the wire, unsigned at Discord: the bits are the same.
        const guildId = BigInt.asUintN(64, BigInt(guild_id))
        if (!isSnowflake(guildId.toString())) {
          throw new ServerError('SERVER_BAD_REQUEST', 'guild_id is missing: expected a guild id.')
        }
        await control.requestGuildMembers(guildId, shard)
        return {}
      }),
    ),
  }
}
