import { AckChains } from './ack-chains.ts'
import { ByteArena } from './byte-arena.ts'
import { grown } from './grown.ts'
import type { AckLanes, PushEvent } from './ports.ts'
import type { SpillRows } from './spill/spill-rows.ts'

/**
 * The bounded queue of one destination: numbers in arrays and bytes in an arena, no object per event.
 *
 *   push ──lane -1──────────────────────────────► channel A: 3 → 7 → 8      (ready, first in first out;
 *     └────lane 0──► held 0: 4 → 6 → 9 ─settle──► channel B: 5 → 4           a flush takes from the head)
 *     └────lane 1──► held 1: 10
 *
 * A slot is an event. It stands in one list at a time (held by a cache lane, or ready in its channel),
 * and in the chain of its shard until it is finished. A channel is what keeps order: a key of Redis, or
 * the one stream of a subscriber.
 */
export interface QueueLimits {
  readonly eventsMax: number
  readonly bytesMax: number
  /** What was read longer ago, by wall time, is dropped. Default 0: it may become as old as it wants. */
  readonly ageMaxMs?: number | undefined
}

const DIRECT = 0
const AFTER_CACHE = 1
const SLOTS_MIN = 1024
/** Where a slot is: waits for the cache, stands in its channel or before the disk, was taken out. */
const HELD = 0
const READY = 1
const UNDER_WAY = 2

export class EventQueue {
  /** Payloads are written here, then handed over by add(). */
  readonly arena = new ByteArena()
  /** Everything that is not finished. */
  events = 0
  bytes = 0
  /** What stands in channels. */
  readyEvents = 0
  readyBytes = 0
  /** Channels that have something ready, in the order in which they became so. */
  readonly activeChannels: number[] = []

  readonly #eventsMax: number
  readonly #bytesMax: number
  readonly #keepsShardOrder: boolean
  readonly #chains: AckChains

  /** By slot. */
  #capacity = 0
  #next = new Int32Array(0)
  #channel = new Int32Array(0)
  #shard = new Int32Array(0)
  #lane = new Int32Array(0)
  #chunk = new Int32Array(0)
  #start = new Int32Array(0)
  #length = new Int32Array(0)
  #name = new Int32Array(0)
  #ticket = new Float64Array(0)
  /** Counts up over all events: which is the oldest of several channels' heads. */
  #order = new Float64Array(0)
  #sequence = new Float64Array(0)
  #receivedAt = new Float64Array(0)
  /** Counts up over all that becomes ready: which of several channels' events left its lane first. Only with numbersReady. */
  #readyOrder = new Float64Array(0)
  /** Its row in the spill, -1 for none. */
  #row = new Float64Array(0)
  #isAccepted = new Uint8Array(0)
  #isLate = new Uint8Array(0)
  #stage = new Uint8Array(0)
  readonly #session: string[] = []
  /** Head of the list of free slots, through #next. */
  #freeSlot = -1

  /** By channel. */
  readonly #head: number[] = []
  readonly #tail: number[] = []
  readonly #count: number[] = []
  /** The last slot of a channel that is on its way and must stay, -1 for none. */
  readonly #pinned: number[] = []
  #added = 0
  #linked = 0
  /** Whether readyOrderOf() is asked for. */
  numbersReady = false
  /** What becomes ready waits in `diverted` instead of its channel; for the spill. */
  isDiverting = false
  readonly diverted: number[] = []
  onDiverted: () => void = () => undefined
  /** The event of this row of the spill is finished. */
  onRowDone: (row: number, slot: number) => void = () => undefined
  /** By cache lane. */
  readonly #heldHead: number[] = []
  readonly #heldTail: number[] = []
  readonly #settled: number[] = []
  /** By shard: how many of its events are held, and by which lane. Only with keepsShardOrder. */
  readonly #heldOfShard: number[] = []
  readonly #heldLane: number[] = []

  /** @param keepsShardOrder an event also waits for the held ones of its shard before it. */
  constructor(options: {
    readonly limits: QueueLimits
    readonly acks: AckLanes
    readonly keepsShardOrder: boolean
  }) {
    this.#eventsMax = options.limits.eventsMax
    this.#bytesMax = options.limits.bytesMax
    this.#keepsShardOrder = options.keepsShardOrder
    this.#chains = new AckChains(options.acks)
    this.#grow(Math.min(SLOTS_MIN, this.#eventsMax))
  }

  /** The last event that found room may reach over the bytes: at most by its own size. */
  get hasRoom(): boolean {
    return this.events < this.#eventsMax && this.bytes < this.#bytesMax
  }

  get isHalfFree(): boolean {
    return this.events <= this.#eventsMax / 2 && this.bytes <= this.#bytesMax / 2
  }

  /**
   * Queues the payload that was just written to the arena's end. Only while hasRoom.
   *
   * @param name   number of the event's name, for whoever takes the event.
   * @param lane   cache lane whose batch `ticket` must be settled first; -1: none.
   * @param length bytes of the payload.
   */
  add(
    channel: number,
    name: number,
    event: PushEvent,
    lane: number,
    ticket: number,
    length: number,
  ): void {
    const slot = this.#fill(channel, name, event, length)
    const ackLane = lane === -1 ? DIRECT : AFTER_CACHE
    this.#lane[slot] = ackLane
    this.#chains.submit(slot, event.shardId, ackLane, event.position)
    this.#enqueue(slot, event.shardId, lane, ticket)
  }

  /**
   * Queues the payload at the arena's end, which comes from the spill: it is accepted already and leaves next.
   *
   * @param isLate an earlier process has left it.
   */
  addSaved(
    channel: number,
    name: number,
    event: Pick<PushEvent, 'shardId' | 'sessionId' | 'sequence' | 'receivedAtMs'>,
    row: number,
    isLate: boolean,
    length: number,
  ): void {
    const slot = this.#fill(channel, name, event, length)
    this.#row[slot] = row
    this.#isAccepted[slot] = 1
    this.#isLate[slot] = isLate ? 1 : 0
    this.#stage[slot] = READY
    this.#link(slot)
  }

  #fill(
    channel: number,
    name: number,
    event: Pick<PushEvent, 'shardId' | 'sessionId' | 'sequence' | 'receivedAtMs'>,
    length: number,
  ): number {
    if (this.#freeSlot === -1) {
      // What comes from the disk may reach over the bound for a moment.
      const max = Math.max(this.#eventsMax, this.#capacity + SLOTS_MIN)
      this.#grow(Math.min(this.#capacity * 2, max))
    }
    const slot = this.#freeSlot
    this.#freeSlot = this.#next[slot]!
    this.#next[slot] = -1
    this.#channel[slot] = channel
    this.#name[slot] = name
    this.#shard[slot] = event.shardId
    this.#sequence[slot] = event.sequence
    this.#receivedAt[slot] = event.receivedAtMs
    this.#session[slot] = event.sessionId
    this.#order[slot] = this.#added++
    this.#row[slot] = -1
    this.#isAccepted[slot] = 0
    this.#isLate[slot] = 0
    this.#stage[slot] = HELD
    this.#chunk[slot] = this.arena.current
    this.#start[slot] = this.arena.end
    this.#length[slot] = length
    this.arena.take(length)
    this.events++
    this.bytes += length
    return slot
  }

  #enqueue(slot: number, shardId: number, lane: number, ticket: number): void {
    if (lane === -1) {
      if (!this.#keepsShardOrder || (this.#heldOfShard[shardId] ?? 0) === 0) {
        this.#makeReady(slot)
        return
      }
      // It waits behind its shard's held events: in their lane, for as long as the last of that lane.
      const heldLane = this.#heldLane[shardId]!
      this.#hold(slot, heldLane, this.#ticket[this.#heldTail[heldLane]!]!)
    } else if (ticket <= (this.#settled[lane] ?? -1)) {
      this.#makeReady(slot)
    } else {
      this.#hold(slot, lane, ticket)
    }
  }

  /** @returns whether something became ready. */
  settle(lane: number, ticket: number): boolean {
    if (ticket <= (this.#settled[lane] ?? -1)) return false
    this.#settled[lane] = ticket
    let slot = this.#heldHead[lane] ?? -1
    if (slot === -1 || this.#ticket[slot]! > ticket) return false
    while (slot !== -1 && this.#ticket[slot]! <= ticket) {
      const next = this.#next[slot]!
      this.#next[slot] = -1
      if (this.#keepsShardOrder) this.#heldOfShard[this.#shard[slot]!]!--
      this.#makeReady(slot)
      slot = next
    }
    this.#heldHead[lane] = slot
    if (slot === -1) this.#heldTail[lane] = -1
    return true
  }

  /** Ready events of a channel. */
  count(channel: number): number {
    return this.#count[channel] ?? 0
  }

  /** The oldest ready slot of a channel, -1 when there is none. */
  head(channel: number): number {
    return this.#head[channel] ?? -1
  }

  /** The slot behind `slot` in its channel, -1 at the end. */
  next(slot: number): number {
    return this.#next[slot]!
  }

  /** Takes the oldest ready slot out of its channel; it is held until finish(). */
  shift(channel: number): number {
    const slot = this.#head[channel]!
    if (this.#pinned[channel] === slot) this.#pinned[channel] = -1
    this.#unlink(channel, -1, slot)
    this.#stage[slot] = UNDER_WAY
    return slot
  }

  /** The channel's events up to this slot are on their way, -1: none; discard() leaves them alone. */
  pin(channel: number, lastSlot: number): void {
    this.#pinned[channel] = lastSlot
  }

  /** The oldest ready slot that is not on its way, -1 for none. */
  oldest(): number {
    let oldest = -1
    for (const channel of this.activeChannels) {
      const slot = this.#loose(channel)
      if (slot === -1) continue
      if (oldest === -1 || this.#order[slot]! < this.#order[oldest]!) oldest = slot
    }
    return oldest
  }

  /** Takes the slot that oldest() gave out of its channel; it is held until finish(). */
  discard(slot: number): void {
    const channel = this.#channel[slot]!
    this.#unlink(channel, this.#pinned[channel] ?? -1, slot)
  }

  /** The first slot of a channel that is not pinned. */
  #loose(channel: number): number {
    const pinned = this.#pinned[channel] ?? -1
    return pinned === -1 ? this.#head[channel]! : this.#next[pinned]!
  }

  /** @param previous the slot before `slot` in its channel; -1: it is the head. */
  #unlink(channel: number, previous: number, slot: number): void {
    const next = this.#next[slot]!
    if (previous === -1) this.#head[channel] = next
    else this.#next[previous] = next
    this.#next[slot] = -1
    this.readyEvents--
    this.readyBytes -= this.#length[slot]!
    if (next === -1) this.#tail[channel] = previous
    if (--this.#count[channel]! === 0) {
      this.activeChannels.splice(this.activeChannels.indexOf(channel), 1)
    }
  }

  /** The event is through, or dropped and counted: acknowledges it and frees slot and bytes. */
  finish(slot: number): void {
    const row = this.#row[slot]!
    if (row !== -1) this.onRowDone(row, slot)
    this.release(slot)
  }

  /** The event is on the disk, in this row: acknowledges it. */
  save(slot: number, row: number): void {
    this.#row[slot] = row
    this.#accept(slot)
  }

  /** The event is on the disk and leaves the queue: acknowledges it and frees slot and bytes. */
  release(slot: number): void {
    const length = this.#length[slot]!
    this.#accept(slot)
    this.#order[slot] = -1
    this.arena.release(this.#chunk[slot]!, length)
    this.events--
    this.bytes -= length
    this.#length[slot] = -1
    this.#next[slot] = this.#freeSlot
    this.#freeSlot = slot
  }

  #accept(slot: number): void {
    if (this.#isAccepted[slot] === 1) return
    this.#isAccepted[slot] = 1
    this.#chains.complete(slot, this.#shard[slot]!, this.#lane[slot] === DIRECT ? 0 : 1)
  }

  /** Takes what is ready, not on its way and not on the disk out of the channels, and diverts what comes. */
  divertReady(): void {
    this.isDiverting = true
    const slots: number[] = []
    for (const channel of this.activeChannels.slice()) {
      let previous = this.#pinned[channel] ?? -1
      let slot = this.#loose(channel)
      // What was read from the disk stands first.
      for (; slot !== -1 && this.#row[slot] !== -1; slot = this.#next[slot]!) previous = slot
      while (slot !== -1) {
        const next = this.#next[slot]!
        this.#unlink(channel, previous, slot)
        slots.push(slot)
        slot = next
      }
    }
    slots.sort((a, b) => this.#order[a]! - this.#order[b]!)
    // Not as arguments: there may be more than a call takes.
    for (const slot of slots) this.diverted.push(slot)
  }

  /** Puts what was diverted into its channels again. */
  resume(): void {
    this.isDiverting = false
    for (const slot of this.diverted) this.#link(slot)
    this.diverted.length = 0
  }

  /** Slots that are on their way and not on the disk, in the order in which they came. */
  slotsUnderWay(): number[] {
    const slots = this.unsavedSlots().filter((slot) => this.#stage[slot] === UNDER_WAY)
    for (const channel of this.activeChannels) {
      const last = this.#pinned[channel] ?? -1
      if (last === -1) continue
      for (let slot = this.#head[channel]!; ; slot = this.#next[slot]!) {
        if (this.#row[slot] === -1) slots.push(slot)
        if (slot === last) break
      }
    }
    return slots.sort((a, b) => this.#order[a]! - this.#order[b]!)
  }

  /** Every slot that is not on the disk, wherever it stands, in the order in which they came. */
  unsavedSlots(): number[] {
    const slots: number[] = []
    for (let slot = 0; slot < this.#capacity; slot++) {
      if (this.#length[slot] !== -1 && this.#row[slot] === -1) slots.push(slot)
    }
    return slots.sort((a, b) => this.#order[a]! - this.#order[b]!)
  }

  /** When the oldest event was read that is ready, or on its way, and not on the disk; infinite for none. */
  oldestUnsavedMs(): number {
    let oldest = Number.POSITIVE_INFINITY
    if (this.events === 0) return oldest
    for (let slot = 0; slot < this.#capacity; slot++) {
      if (this.#length[slot] === -1 || this.#row[slot] !== -1 || this.#stage[slot] === HELD)
        continue
      oldest = Math.min(oldest, this.#receivedAt[slot]!)
    }
    return oldest
  }

  /** The events as rows of the spill, numbered from `firstRow` on. */
  rowsOf(slots: readonly number[], firstRow: number, names: readonly string[]): SpillRows {
    const lengths = Int32Array.from(slots, (slot) => this.#length[slot]!)
    const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0))
    let pos = 0
    for (const slot of slots) {
      const start = this.#start[slot]!
      pos += this.chunkOf(slot).copy(bytes, pos, start, start + this.#length[slot]!)
    }
    return {
      ids: Float64Array.from(slots, (_, index) => firstRow + index),
      names: slots.map((slot) => names[this.#name[slot]!]!),
      channels: Int32Array.from(slots, (slot) => this.#channel[slot]!),
      shards: Int32Array.from(slots, (slot) => this.#shard[slot]!),
      sessions: slots.map((slot) => this.#session[slot]!),
      sequences: Float64Array.from(slots, (slot) => this.#sequence[slot]!),
      receivedAtMs: Float64Array.from(slots, (slot) => this.#receivedAt[slot]!),
      lengths,
      bytes,
    }
  }

  /** Tells an event from a later one in the same slot; -1: the slot is free. */
  orderOf(slot: number): number {
    return this.#order[slot]!
  }
  /** Rises along a channel, and over all channels along the events of a shard in one lane. */
  readyOrderOf(slot: number): number {
    return this.#readyOrder[slot]!
  }
  /** 0 = direct, 1 = after the cache; of what does not come from the disk. */
  laneOf(slot: number): 0 | 1 {
    return this.#lane[slot] === DIRECT ? 0 : 1
  }
  /** Whether it lies on the disk, too. */
  isSaved(slot: number): boolean {
    return this.#row[slot] !== -1
  }
  /** Whether an earlier process has received it. */
  isLate(slot: number): boolean {
    return this.#isLate[slot] === 1
  }
  chunkOf(slot: number): Buffer {
    return this.arena.chunk(this.#chunk[slot]!)
  }
  startOf(slot: number): number {
    return this.#start[slot]!
  }
  lengthOf(slot: number): number {
    return this.#length[slot]!
  }
  nameOf(slot: number): number {
    return this.#name[slot]!
  }
  shardOf(slot: number): number {
    return this.#shard[slot]!
  }
  receivedAtMsOf(slot: number): number {
    return this.#receivedAt[slot]!
  }
  sequenceOf(slot: number): number {
    return this.#sequence[slot]!
  }
  sessionOf(slot: number): string {
    return this.#session[slot]!
  }

  /** Wall time in ms at which the oldest unfinished event was read; Infinity without one. For a scrape: looks at all. */
  oldestReceivedAtMs(): number {
    let oldest = Number.POSITIVE_INFINITY
    if (this.events === 0) return oldest
    for (let slot = 0; slot < this.#capacity; slot++) {
      if (this.#length[slot] !== -1) oldest = Math.min(oldest, this.#receivedAt[slot]!)
    }
    return oldest
  }

  /** Copies live payloads together when chunks are held for few of them. Between flushes only. */
  compactIfSparse(): void {
    const arena = this.arena
    if (!arena.isSparse) return
    const current = arena.current
    for (let slot = 0; slot < this.#capacity; slot++) {
      const length = this.#length[slot]!
      if (length === -1 || this.#chunk[slot] === current) continue
      const chunk = this.#chunk[slot]!
      const start = this.#start[slot]!
      const from = arena.chunk(chunk)
      arena.reserve(length)
      from.copy(arena.bytes, arena.end, start, start + length)
      this.#chunk[slot] = arena.current
      this.#start[slot] = arena.end
      arena.take(length)
      arena.release(chunk, length)
    }
  }

  #hold(slot: number, lane: number, ticket: number): void {
    this.#ticket[slot] = ticket
    const tail = this.#heldTail[lane] ?? -1
    if (tail === -1) this.#heldHead[lane] = slot
    else this.#next[tail] = slot
    this.#heldTail[lane] = slot
    if (this.#keepsShardOrder) {
      const shardId = this.#shard[slot]!
      this.#heldOfShard[shardId] = (this.#heldOfShard[shardId] ?? 0) + 1
      this.#heldLane[shardId] = lane
    }
  }

  #makeReady(slot: number): void {
    this.#stage[slot] = READY
    if (!this.isDiverting) {
      this.#link(slot)
      return
    }
    this.diverted.push(slot)
    this.onDiverted()
  }

  #link(slot: number): void {
    if (this.numbersReady) this.#readyOrder[slot] = this.#linked++
    const channel = this.#channel[slot]!
    const count = this.#count[channel] ?? 0
    if (count === 0) {
      this.#head[channel] = slot
      this.activeChannels.push(channel)
    } else {
      this.#next[this.#tail[channel]!] = slot
    }
    this.#tail[channel] = slot
    this.#count[channel] = count + 1
    this.readyEvents++
    this.readyBytes += this.#length[slot]!
  }

  #grow(capacity: number): void {
    const from = this.#capacity
    this.#next = grown(this.#next, capacity)
    this.#channel = grown(this.#channel, capacity)
    this.#shard = grown(this.#shard, capacity)
    this.#lane = grown(this.#lane, capacity)
    this.#chunk = grown(this.#chunk, capacity)
    this.#start = grown(this.#start, capacity)
    this.#length = grown(this.#length, capacity)
    this.#name = grown(this.#name, capacity)
    this.#ticket = grown(this.#ticket, capacity)
    this.#order = grown(this.#order, capacity)
    this.#readyOrder = grown(this.#readyOrder, capacity)
    this.#row = grown(this.#row, capacity)
    this.#isAccepted = grown(this.#isAccepted, capacity)
    this.#isLate = grown(this.#isLate, capacity)
    this.#stage = grown(this.#stage, capacity)
    this.#sequence = grown(this.#sequence, capacity)
    this.#receivedAt = grown(this.#receivedAt, capacity)
    this.#chains.grow(capacity)
    this.#capacity = capacity
    for (let slot = capacity - 1; slot >= from; slot--) {
      this.#length[slot] = -1
      this.#next[slot] = this.#freeSlot
      this.#freeSlot = slot
    }
  }
}
