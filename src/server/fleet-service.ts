/** `gateway.v1.Fleet`: what gatewayctl asks. See proto/fleet.proto. */
import type { Metadata, ServiceDefinition } from '@grpc/grpc-js'
import type { Log, Secret } from '../base/index.ts'
import type { SpillRow } from '../cache/index.ts'
import { isSnowflake } from '../discord/index.ts'
import { BearerToken } from './bearer-token.ts'
import { ServerError } from './errors.ts'
import type { FleetControl, FleetGuild, ShardReport } from './fleet-control.ts'
import type { GrpcService } from './grpc-server.ts'
import type { Peers } from './peers.ts'
import { loadService, protoFile } from './proto-file.ts'
import { unary } from './unary.ts'

export interface FleetServiceDeps {
  readonly control: FleetControl
  readonly peers: Peers
  /** Asked for by the calls that change something; null: whoever reaches the listener may. */
  readonly adminToken: Secret | null
  readonly log: Log
}

/** As proto/fleet.proto has it; int64 may be a number on its way out and is text on its way in. */
interface Shard {
  readonly shard: number
  readonly state: string
  readonly received: number | string
}

interface WorkerIdentifies {
  readonly worker: string
  readonly waiting: number
  readonly stopped_by: string
}

const SERVICE = 'gateway.v1.Fleet'
const ALLOWED_MAX = 1000

/** The check that calls which change something begin with. @throws ServerError SERVER_UNAUTHORIZED */
export function adminGuard(adminToken: Secret | null): (metadata: Metadata) => void {
  const token = adminToken === null ? null : new BearerToken(adminToken)
  return (metadata) => {
    const [authorization] = metadata.get('authorization')
    token?.require(authorization?.toString())
  }
}

export function fleetService(deps: FleetServiceDeps): GrpcService {
  const { control, peers, log } = deps
  const file = protoFile('fleet')
  const definition: ServiceDefinition = loadService(file, SERVICE)
  const guard = adminGuard(deps.adminToken)
  const ownGate = (): WorkerIdentifies => {
    const { waiting, stoppedBy } = control.ownIdentifyGate()
    return { worker: control.workerId, waiting, stopped_by: stoppedBy }
  }
  /** Spill → worker that has it open, of those that answer. */
  const holdersOf = async (request: object): Promise<ReadonlyMap<string, string>> => {
    const method = definition['Spills']!
    const answers = await peers.askOthers<object, { held: string[] }>(method, request)
    const holders = new Map(control.ownSpills().map((spill) => [spill, control.workerId]))
    for (const [worker, answer] of answers) {
      for (const spill of answer?.held ?? []) holders.set(spill, worker)
    }
    return holders
  }
  return {
    name: SERVICE,
    definition,
    protoFile: file,
    implementation: {
      Status: unary(log, async (request: object, metadata) => {
        const own = control.ownShards().map((report) => shardOf(report, control.workerId))
        if (peers.isForSelf(metadata)) return { shards: own }
        const [overview, answers] = await Promise.all([
          control.overview(),
          peers.askOthers<object, { shards: Shard[] }>(definition['Status']!, request),
        ])
        const { owners, movingTo, movedTo } = overview
        const known = new Map<string, ReadonlyMap<number, Shard>>()
        known.set(control.workerId, byNumber(own))
        for (const [worker, answer] of answers) {
          if (answer !== null) known.set(worker, byNumber(answer.shards))
        }
        return {
          fleet: overview.fleet,
          shard_count: overview.shardCount,
          stale_because: overview.staleBecause ?? '',
          workers: overview.workers.map((worker) => ({
            id: worker.id,
            address: worker.address,
            version: worker.version,
            shards_max: worker.shardsMax ?? 0,
            start: worker.start,
            stop: worker.stop,
            shards: [...owners.values()].filter((owner) => owner === worker.id).length,
            is_draining: worker.isDraining,
            is_reachable: known.has(worker.id),
            is_waiting: worker.isWaiting,
          })),
          shards: Array.from({ length: overview.shardCount }, (_, shard) => {
            const worker = owners.get(shard) ?? ''
            const where = {
              worker,
              moving_to: movingTo.get(shard) ?? '',
              moved_to: movedTo.get(shard) ?? '',
            }
            const told = known.get(worker)?.get(shard)
            if (told !== undefined) return { ...told, ...where }
            // By the claim it is there, by its worker it is not: on its way in.
            const state = worker === '' ? 'unowned' : known.has(worker) ? 'idle' : 'unknown'
            return { shard, state, last_event_age_ms: -1, heartbeat_rtt_ms: -1, ...where }
          }),
        }
      }),
      MoveShard: unary(
        log,
        async ({ shard, worker }: { shard: number; worker: string }, metadata) => {
          guard(metadata)
          return { worker: await control.move(shard, worker) }
        },
      ),
      UnmoveShard: unary(log, async ({ shard }: { shard: number }, metadata) => {
        guard(metadata)
        await control.unmove(shard)
        return {}
      }),
      DrainWorker: unary(log, async ({ worker }: { worker: string }, metadata) => {
        guard(metadata)
        return { worker: await control.drain(worker) }
      }),
      UndrainWorker: unary(log, async ({ worker }: { worker: string }, metadata) => {
        guard(metadata)
        return { worker: await control.undrain(worker) }
      }),
      Identifies: unary(log, async (request: object, metadata) => {
        if (peers.isForSelf(metadata)) return { workers: [ownGate()] }
        const [budget, answers] = await Promise.all([
          control.identifyBudget(),
          peers.askOthers<object, { workers: WorkerIdentifies[] }>(
            definition['Identifies']!,
            request,
          ),
        ])
        const { resetAfterMs, maxConcurrency, breakerWindowMs, ...same } = budget
        const others = [...answers.values()].flatMap((answer) => answer?.workers ?? [])
        return {
          ...same,
          reset_after_ms: resetAfterMs,
          max_concurrency: maxConcurrency,
          breaker_window_ms: breakerWindowMs,
          workers: [ownGate(), ...others].sort((a, b) => (a.worker < b.worker ? -1 : 1)),
        }
      }),
      AllowIdentifies: unary(log, async (request: { count: number }, metadata) => {
        guard(metadata)
        if (!peers.isForSelf(metadata)) {
          if (request.count < 0 || request.count > ALLOWED_MAX) {
            const message = `count ${request.count}: expected a number from 0 to ${ALLOWED_MAX}.`
            throw new ServerError('SERVER_BAD_REQUEST', message)
          }
          await control.allowIdentifies(request.count)
          await peers.askOthers(definition['AllowIdentifies']!, request, metadata)
        }
        control.lookAgain()
        return {}
      }),
      Spills: unary(log, async (request: object, metadata) => {
        if (peers.isForSelf(metadata)) return { held: control.ownSpills() }
        const [rows, holders] = await Promise.all([control.spills(), holdersOf(request)])
        return { spills: rows.map((row) => spillOf(row, holders.get(row.spillId) ?? '')) }
      }),
      LoseSpill: unary(log, async ({ spill }: { spill: string }, metadata) => {
        guard(metadata)
        const holder = (await holdersOf({})).get(spill)
        if (holder !== undefined) {
          const message = `Spill ${spill} is open on ${holder}, which delivers what lies in it.`
          throw new ServerError('SERVER_SPILL_HELD', message)
        }
        const rows = await control.loseSpill(spill)
        if (rows.length === 0) {
          throw new ServerError(
            'SERVER_SPILL_UNKNOWN',
            `Nothing is known to lie in spill ${spill}.`,
          )
        }
        return { spills: rows.map((row) => spillOf(row, '')) }
      }),
      Guild: unary(log, async ({ guild_id }: { guild_id: string }) => {
        if (!isSnowflake(guild_id)) {
          throw new ServerError('SERVER_BAD_REQUEST', 'guild_id is missing: expected a guild id.')
        }
        const [guild, { owners }] = await Promise.all([
          control.guild(BigInt(guild_id)),
          control.overview(),
        ])
        return { ...guildOf(guild), guild_id, worker: owners.get(guild.shard) ?? '' }
      }),
    },
  }
}

function byNumber(shards: readonly Shard[]): ReadonlyMap<number, Shard> {
  return new Map(shards.map((shard) => [shard.shard, shard]))
}

function shardOf(report: ShardReport, worker: string): Shard & Record<string, unknown> {
  const { shard, state, received, acknowledged, fence, eventRate } = report
  return {
    shard,
    worker,
    state,
    received: Math.max(0, received),
    acknowledged: Math.max(0, acknowledged),
    lag: Math.max(0, received - Math.max(0, acknowledged)),
    fence_epoch: fence.epoch,
    fence_revision: fence.revision,
    last_event_age_ms: Math.round(report.lastEventAgeMs ?? -1),
    heartbeat_rtt_ms: Math.round(report.heartbeatRttMs ?? -1),
    event_rate: eventRate,
    events: report.events,
    identifies: report.identifies,
    resumes: report.resumes,
  }
}

function spillOf(row: SpillRow, heldBy: string): object {
  const { spillId, worker, destination, shardId, sessionId, from, to, events, updatedAt } = row
  return {
    spill: spillId,
    worker,
    destination,
    shard: shardId,
    session: sessionId,
    first: from,
    last: to,
    events,
    updated_at: updatedAt.toISOString(),
    held_by: heldBy,
  }
}

function guildOf({ shard, report }: FleetGuild): object {
  if (report === null) return { shard }
  const time = (at: Date | null): string => at?.toISOString() ?? ''
  return {
    shard,
    state: report.state,
    since: time(report.since),
    members_complete: report.membersComplete,
    members_as_of: time(report.membersAsOf),
    presences_complete: report.presencesComplete,
    presences_as_of: time(report.presencesAsOf),
    bans_since: time(report.bansSince),
    gap_at: time(report.gapAt),
  }
}
