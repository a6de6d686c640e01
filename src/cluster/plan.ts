/**
 * Who should hold which shard. Every worker computes it for itself from the same keys, so there is no
 * leader; two views that differ for a moment are settled by the transaction that puts a claim.
 *
 * Shards stay where they are as long as that is balanced within one; a free shard goes to its last owner
 * if that one has room for it, else to the worker that has least.
 */
export interface PlanWorker {
  readonly id: string
  readonly base: string
  /** Null: any number. */
  readonly capacity: number | null
  readonly start: number
  readonly stop: number
  readonly isLeaving: boolean
}

export interface PlanInput {
  readonly shardCount: number
  readonly workers: readonly PlanWorker[]
  /** Shard → worker that holds it. */
  readonly owners: ReadonlyMap<number, string>
  /** Shard → base of its last owner. */
  readonly lastOwners: ReadonlyMap<number, string>
  /** Shard → worker that a planned release has named. */
  readonly handovers: ReadonlyMap<number, string>
  /** Shard → worker where an operator wants it; stays there while that one lives. */
  readonly moves: ReadonlyMap<number, string>
}

interface Load {
  readonly worker: PlanWorker
  readonly shards: Set<number>
}

/** @returns shard → worker; a shard that nobody may or can take is missing. */
export function planShards(input: PlanInput): Map<number, string> {
  const { shardCount, owners, lastOwners, handovers, moves } = input
  const loads = input.workers
    .filter((worker) => !worker.isLeaving)
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map((worker): Load => ({ worker, shards: new Set() }))
  const byId = new Map(loads.map((load) => [load.worker.id, load]))
  const pinned = new Set<number>()
  const settled = new Set<number>()
  const give = (shardId: number, id: string | undefined): boolean => {
    const load = id === undefined ? undefined : byId.get(id)
    if (load === undefined || !mayTake(load, shardId)) return false
    load.shards.add(shardId)
    return true
  }
  for (let shardId = 0; shardId < shardCount; shardId++) {
    if (give(shardId, moves.get(shardId))) pinned.add(shardId)
    else if (give(shardId, owners.get(shardId))) settled.add(shardId)
    else if (!owners.has(shardId)) {
      if (give(shardId, handovers.get(shardId))) settled.add(shardId)
    }
  }
  const free: number[] = []
  for (let shardId = 0; shardId < shardCount; shardId++) {
    if (!pinned.has(shardId) && !settled.has(shardId)) free.push(shardId)
  }
  // A last owner takes back no more than its share, else held shards would have to move for it.
  const floor = loads.length === 0 ? 0 : Math.floor(shardCount / loads.length)
  const extra = shardCount - floor * loads.length
  const isBelowShare = (load: Load): boolean =>
    load.shards.size < floor ||
    (load.shards.size === floor && loads.filter(({ shards }) => shards.size > floor).length < extra)
  const rest = free.filter((shardId) => {
    const base = lastOwners.get(shardId)
    const last = loads.find(
      (load) => load.worker.base === base && isBelowShare(load) && mayTake(load, shardId),
    )
    last?.shards.add(shardId)
    return last === undefined
  })
  for (const shardId of rest) leastOf(loads, shardId)?.shards.add(shardId)
  balance(loads, pinned, settled)
  const plan = new Map<number, string>()
  for (const { worker, shards } of loads) for (const shardId of shards) plan.set(shardId, worker.id)
  return plan
}

function mayTake({ worker, shards }: Load, shardId: number): boolean {
  const hasRoom = worker.capacity === null || shards.size < worker.capacity
  return hasRoom && shardId >= worker.start && shardId < worker.stop
}

function leastOf(loads: readonly Load[], shardId: number): Load | undefined {
  let least: Load | undefined
  for (const load of loads) {
    if (!mayTake(load, shardId)) continue
    if (least === undefined || load.shards.size < least.shards.size) least = load
  }
  return least
}

/** Moves single shards from who has more to who has less by two or more, free ones before held ones. */
function balance(
  loads: readonly Load[],
  pinned: ReadonlySet<number>,
  settled: ReadonlySet<number>,
): void {
  for (;;) {
    const richest = [...loads].sort((a, b) => b.shards.size - a.shards.size)
    const isMoved = richest.some((from) => {
      const movable = [...from.shards]
        .filter((shardId) => !pinned.has(shardId))
        .sort((a, b) => Number(settled.has(a)) - Number(settled.has(b)) || b - a)
      const poorest = [...loads].sort((a, b) => a.shards.size - b.shards.size)
      for (const to of poorest) {
        if (from.shards.size - to.shards.size < 2) return false
        const shardId = movable.find((id) => mayTake(to, id))
        if (shardId === undefined) continue
        from.shards.delete(shardId)
        to.shards.add(shardId)
        return true
      }
      return false
    })
    if (!isMoved) return
  }
}
