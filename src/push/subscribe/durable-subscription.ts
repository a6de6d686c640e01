import { status } from '@grpc/grpc-js'
import type { EventWindow } from './event-window.ts'
import { type EventStream, nextWanted, type Reader } from './reader.ts'
import type { DurableOptions, Subscription } from './subscribe-request.ts'
import { SubscriptionFilter } from './subscription-filter.ts'

/** One stream of the subscription, and what it was given and has not acknowledged. */
export class Member {
  readonly stream: EventStream
  readonly options: DurableOptions
  readonly encoding: 'etf' | 'json'
  /** Ordinals, ascending from #first on. */
  #unacknowledged: number[] = []
  #first = 0
  isCongested = false
  /** When it last acknowledged something, or had nothing to acknowledge. */
  progressAtMs: number

  constructor(subscription: Subscription, stream: EventStream, nowMs: number) {
    this.stream = stream
    this.options = subscription.durable!
    this.encoding = subscription.encoding
    this.progressAtMs = nowMs
  }

  get count(): number {
    return this.#unacknowledged.length - this.#first
  }

  get hasRoom(): boolean {
    return !this.isCongested && this.count < this.options.unacknowledgedMax
  }

  /** The oldest, undefined for none. */
  get oldest(): number | undefined {
    return this.#unacknowledged[this.#first]
  }

  get unacknowledged(): number[] {
    return this.#unacknowledged.slice(this.#first)
  }

  /** What came back from another stream may be older than what this one has. */
  give(ordinal: number): void {
    const list = this.#unacknowledged
    list.push(ordinal)
    for (let at = list.length - 1; at > this.#first && list[at - 1]! > ordinal; at--) {
      list[at] = list[at - 1]!
      list[at - 1] = ordinal
    }
  }

  /** @returns the oldest if it is at most `through`, and forgets it. */
  acknowledgeOldest(through: number): number | undefined {
    const { oldest } = this
    if (oldest === undefined || oldest > through) return undefined
    this.#first++
    if (this.#first === this.#unacknowledged.length) {
      this.#unacknowledged = []
      this.#first = 0
    } else if (this.#first > 1000 && this.#first * 2 > this.#unacknowledged.length) {
      this.#unacknowledged = this.unacknowledged
      this.#first = 0
    }
    return oldest
  }
}

/**
 * A named subscription of Consume: a place in the window that outlives its streams, which share its events.
 *
 *   window   ··· 4  5  6  7  8  9 ···        stream A has 4 7, stream B has 5 8; 6 came back from a
 *                                next        stream that ended and goes out again before 9
 */
export class DurableSubscription implements Reader {
  subscription: Subscription
  filter: SubscriptionFilter
  written = 0
  readonly members = new Set<Member>()
  #next: number
  /** Ordinals that came back, ascending. */
  #returned: number[] = []
  readonly #onTaken: (ordinal: number) => void

  constructor(options: {
    readonly subscription: Subscription
    readonly next: number
    readonly onTaken: (ordinal: number) => void
  }) {
    this.subscription = options.subscription
    this.filter = new SubscriptionFilter(options.subscription.filter)
    this.#next = options.next
    this.#onTaken = options.onTaken
  }

  get floor(): number {
    let floor = Math.min(this.#next, this.#returned[0] ?? this.#next)
    for (const { oldest } of this.members) floor = Math.min(floor, oldest ?? floor)
    return floor
  }

  get hasPending(): boolean {
    for (const { count } of this.members) if (count > 0) return true
    return false
  }

  /** The filter of who came last is in force: a deploy changes it. */
  join(subscription: Subscription, stream: EventStream, nowMs: number): Member {
    this.subscription = subscription
    this.filter = new SubscriptionFilter(subscription.filter)
    const member = new Member(subscription, stream, nowMs)
    this.members.add(member)
    return member
  }

  leave(member: Member): void {
    if (!this.members.delete(member)) return
    this.#returned = [...this.#returned, ...member.unacknowledged].sort((a, b) => a - b)
  }

  acknowledge(member: Member, through: number, nowMs: number): void {
    for (;;) {
      const ordinal = member.acknowledgeOldest(through)
      if (ordinal === undefined) return
      member.progressAtMs = nowMs
      this.written++
      this.#onTaken(ordinal)
    }
  }

  pump(window: EventWindow): void {
    for (let isMore = true; isMore; ) {
      isMore = false
      // In turn, one each, so that streams that are equally quick get equally much.
      for (const member of this.members) {
        if (!member.hasRoom) continue
        const ordinal = this.#take(window)
        if (ordinal === window.end) return
        isMore = true
        const message = window.message(ordinal, member.encoding)
        if (message === null) {
          window.markFailed(ordinal)
          continue
        }
        member.give(ordinal)
        if (!member.stream.write(message, () => undefined)) member.isCongested = true
      }
    }
  }

  /** Drops the oldest up to an ordinal. @returns how many it had. */
  skipTo(ordinal: number, window: EventWindow): number {
    let skipped = 0
    const skip = (one: number): void => {
      window.markSkipped(one)
      skipped++
    }
    while ((this.#returned[0] ?? ordinal) < ordinal) skip(this.#returned.shift()!)
    while (this.#next < ordinal) {
      this.#next = nextWanted(this.filter, window, this.#next)
      if (this.#next < ordinal) skip(this.#next++)
    }
    for (const member of this.members) {
      for (;;) {
        const one = member.acknowledgeOldest(ordinal - 1)
        if (one === undefined) break
        skip(one)
      }
    }
    return skipped
  }

  /** A stream that acknowledges nothing is ended; its events go to the others. */
  endStalled(nowMs: number): boolean {
    for (const member of this.members) {
      if (member.count === 0) member.progressAtMs = nowMs
      const { acknowledgeMs } = member.options
      if (nowMs - member.progressAtMs < acknowledgeMs) continue
      this.leave(member)
      member.stream.end(
        status.DEADLINE_EXCEEDED,
        `Nothing was acknowledged for ${acknowledgeMs / 1000} s. Subscribe again.`,
      )
    }
    return false
  }

  end(code: number, details: string): void {
    for (const member of this.members) {
      this.leave(member)
      member.stream.end(code, details)
    }
  }

  #take(window: EventWindow): number {
    const returned = this.#returned.shift()
    if (returned !== undefined) return returned
    const ordinal = nextWanted(this.filter, window, this.#next)
    this.#next = ordinal === window.end ? ordinal : ordinal + 1
    return ordinal
  }
}
