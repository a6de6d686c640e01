/**
 * The fleet's keys in etcd. docs/architecture.md#the-fleet-in-etcd
 *
 * `v1` is the version of the format. Values are JSON objects; a reader ignores fields that it does not know, so a
 * version that adds some runs beside one that does not. What an older reader would misread gets a new `v`.
 */
import type { KeyValue, Snapshot } from './client.ts'

/** A worker as it registers itself, on its lease. */
export interface WorkerRecord {
  /** Unique for a process. */
  readonly id: string
  /** Outlives a restart: -podId, else the host. Shards return to it first. */
  readonly base: string
  readonly version: string
  /** Of its gRPC listener; empty without one. */
  readonly address: string
  /** Shards that it takes at most; null: any number. */
  readonly capacity: number | null
  /** The shards [start, stop) that it may take. */
  readonly start: number
  readonly stop: number
  readonly shardCount: number
  readonly intents: number
  readonly botUserId: string
  /** Takes no more shards and gives away those that it has. */
  readonly isLeaving: boolean
}

export interface LiveWorker extends WorkerRecord {
  readonly lease: string
  readonly createRevision: number
}

export interface ClaimKey {
  readonly worker: string
  readonly createRevision: number
  readonly modRevision: number
  readonly lease: string
}

/** Everything under the fleet's prefix, at one revision. */
export interface FleetView {
  readonly revision: number
  /** In the order in which they registered. */
  readonly workers: readonly LiveWorker[]
  readonly claims: ReadonlyMap<number, ClaimKey>
  /** Shard → base of its last owner. */
  readonly lastOwners: ReadonlyMap<number, string>
  /** Shard → the worker that a planned release has named. */
  readonly handovers: ReadonlyMap<number, string>
  /** Shard → the worker where an operator wants it. */
  readonly moves: ReadonlyMap<number, string>
}

export class FleetKeys {
  readonly prefix: string

  constructor(fleet: string) {
    this.prefix = `/gateway/${encodeURIComponent(fleet)}/v1/`
  }

  worker(id: string): string {
    return `${this.prefix}workers/${id}`
  }

  claim(shardId: number): string {
    return `${this.prefix}claims/${shardId}`
  }

  lastOwner(shardId: number): string {
    return `${this.prefix}owners/${shardId}`
  }

  handover(shardId: number): string {
    return `${this.prefix}handovers/${shardId}`
  }

  move(shardId: number): string {
    return `${this.prefix}moves/${shardId}`
  }

  drain(workerId: string): string {
    return `${this.prefix}drains/${workerId}`
  }

  /** One of the moves that rebalancing may make in a minute. */
  rebalance(slot: number): string {
    return `${this.prefix}rebalances/${slot}`
  }

  parse({ keys, revision }: Snapshot): FleetView {
    const claims = new Map<number, ClaimKey>()
    const workers: LiveWorker[] = []
    const drained = new Set<string>()
    const named = {
      owners: new Map<number, string>(),
      handovers: new Map<number, string>(),
      moves: new Map<number, string>(),
    }
    for (const kv of keys) {
      const [kind = '', ...rest] = kv.key.slice(this.prefix.length).split('/')
      const id = rest.join('/')
      if (kind === 'workers') workers.push(workerOf(id, kv))
      else if (kind === 'drains') drained.add(id)
      else if (kind === 'claims') {
        const { createRevision, modRevision, lease } = kv
        claims.set(Number(id), { worker: textOf(kv, 'worker'), createRevision, modRevision, lease })
      } else if (kind === 'owners') named.owners.set(Number(id), textOf(kv, 'base'))
      else if (kind === 'handovers') named.handovers.set(Number(id), textOf(kv, 'to'))
      else if (kind === 'moves') named.moves.set(Number(id), textOf(kv, 'to'))
    }
    return {
      revision,
      workers: workers
        .map((worker) => (drained.has(worker.id) ? { ...worker, isLeaving: true } : worker))
        .sort((a, b) => a.createRevision - b.createRevision),
      claims,
      lastOwners: named.owners,
      handovers: named.handovers,
      moves: named.moves,
    }
  }
}

/** The workers whose bot, shard count and intents are those of the one that registered first. */
export function membersOf(view: FleetView): readonly LiveWorker[] {
  const [first] = view.workers
  if (first === undefined) return []
  return view.workers.filter((worker) => isSameKind(worker, first))
}

export function isSameKind(a: WorkerRecord, b: WorkerRecord): boolean {
  return a.botUserId === b.botUserId && a.shardCount === b.shardCount && a.intents === b.intents
}

function objectOf(kv: KeyValue): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(kv.value)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}

function textOf(kv: KeyValue, field: string): string {
  const value = objectOf(kv)[field]
  return typeof value === 'string' ? value : ''
}

function workerOf(id: string, kv: KeyValue): LiveWorker {
  const fields = objectOf(kv)
  const text = (name: string): string => textOf(kv, name)
  const number = (name: string, otherwise: number): number => {
    const value = fields[name]
    return typeof value === 'number' ? value : otherwise
  }
  return {
    id,
    base: text('base'),
    version: text('version'),
    address: text('address'),
    capacity: typeof fields['capacity'] === 'number' ? fields['capacity'] : null,
    start: number('start', 0),
    stop: number('stop', 0),
    shardCount: number('shardCount', 0),
    intents: number('intents', 0),
    botUserId: text('botUserId'),
    isLeaving: fields['isLeaving'] === true,
    lease: kv.lease,
    createRevision: kv.createRevision,
  }
}
