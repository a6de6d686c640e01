import type { AckLane, AckLanes } from '../../src/push/index.ts'

/** An ack lane that remembers, and fails the moment its promise is broken. */
export class RecordedLane implements AckLane {
  readonly submitted: number[] = []
  readonly completed: number[] = []
  calls = 0

  submit(shardId: number, position: number): void {
    if (position <= (this.submitted[shardId] ?? 0)) {
      throw new Error(`shard ${shardId}: submitted ${position} after ${this.submitted[shardId]}`)
    }
    this.submitted[shardId] = position
    this.calls++
  }

  done(shardId: number, position: number): void {
    if (position > (this.submitted[shardId] ?? 0)) {
      throw new Error(`shard ${shardId}: done ${position}, submitted ${this.submitted[shardId]}`)
    }
    if (position < (this.completed[shardId] ?? 0)) {
      throw new Error(`shard ${shardId}: done ${position} after ${this.completed[shardId]}`)
    }
    this.completed[shardId] = position
  }

  through(shardId: number): number {
    return this.completed[shardId] ?? 0
  }

  get isIdle(): boolean {
    return this.submitted.every((position, shardId) => this.completed[shardId] === position)
  }
}

export function recordedLanes(): AckLanes & { direct: RecordedLane; afterCache: RecordedLane } {
  return { direct: new RecordedLane(), afterCache: new RecordedLane() }
}
