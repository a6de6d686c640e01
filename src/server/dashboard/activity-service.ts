/** `gateway.activity.v1.Activity`: what each worker sees, for the dashboard. See proto/activity.proto. */
import type { ServiceDefinition } from '@grpc/grpc-js'
import type { Log } from '../../base/index.ts'
import type { GrpcService } from '../grpc-server.ts'
import type { Peers } from '../peers.ts'
import { loadService, protoFile } from '../proto-file.ts'
import { unary } from '../unary.ts'

/** As the proto has it. */
export interface WorkerActivity {
  readonly worker: string
  readonly events: Readonly<Record<string, number>>
  readonly destinations: readonly DestinationActivity[]
  readonly happenings: readonly Happening[]
}

export interface DestinationActivity {
  readonly name: string
  readonly is_up: boolean
  readonly lag_seconds: number
  readonly queued_events: number
  readonly queued_bytes: number
  readonly delivered_events: number
  readonly dropped_events: number
}

export interface Happening {
  readonly at_ms: number
  readonly level: string
  readonly message: string
  readonly shard: number
  readonly fields: string
}

export const ACTIVITY_SERVICE = 'gateway.activity.v1.Activity'

export function activityService(deps: {
  readonly own: () => WorkerActivity
  readonly peers: Peers
  readonly log: Log
}): GrpcService {
  const { own, peers, log } = deps
  const file = protoFile('activity')
  const definition: ServiceDefinition = loadService(file, ACTIVITY_SERVICE)
  return {
    name: ACTIVITY_SERVICE,
    definition,
    protoFile: file,
    implementation: {
      Read: unary(log, async (request: object, metadata) => {
        if (peers.isForSelf(metadata)) return { workers: [own()] }
        const answers = await peers.askOthers<object, { workers: WorkerActivity[] }>(
          definition['Read']!,
          request,
        )
        return {
          workers: [own(), ...[...answers.values()].flatMap((answer) => answer?.workers ?? [])],
        }
      }),
    },
  }
}
