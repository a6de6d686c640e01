import fc from 'fast-check'
import { expect, test } from 'vitest'
import { transition } from '../../src/shard/state.ts'
import type { Effect, ShardEvent, ShardState } from '../../src/shard/state.ts'

/** What a shard has while its effects run; each effect may need something, and takes or gives it. */
class Holdings {
  hasSession: boolean
  hasConnection = false
  hasPermit = false
  isHelloSeen = false

  constructor(hasSession: boolean) {
    this.hasSession = hasSession
  }

  /** The world says what it says before the table hears of it. */
  before(event: ShardEvent): void {
    if (event.type === 'closed' || event.type === 'unreachable') this.hasConnection = false
    if (event.type === 'permitted') this.hasPermit = true
    if (event.type === 'hello') this.isHelloSeen = true
    if (event.type === 'ready') this.hasSession = true
  }

  run(effect: Effect): void {
    switch (effect.do) {
      case 'close':
        this.hasConnection = false
        return
      case 'connect':
        expect(this.hasConnection, 'one connection at a time').toBe(false)
        this.hasConnection = true
        this.isHelloSeen = false
        return
      case 'identify':
        expect(this.hasPermit, 'IDENTIFY needs a permit').toBe(true)
        expect(this.hasConnection && this.isHelloSeen, 'IDENTIFY follows HELLO').toBe(true)
        return
      case 'resume':
        expect(this.hasSession, 'RESUME needs a session').toBe(true)
        expect(this.hasConnection && this.isHelloSeen, 'RESUME follows HELLO').toBe(true)
        return
      case 'save':
      case 'release':
        this.hasPermit = false
        return
      case 'drop':
        expect(this.hasSession, 'what is dropped was there').toBe(true)
        this.hasSession = false
        return
      case 'wait':
      case 'acquire':
      case 'prove':
      case 'await_room':
      case 'fatal':
      case 'forget':
        return
    }
  }
}

/** Events that can happen in a state: a closed socket says nothing, a timer fires where it was armed. */
function isPossible(state: ShardState, event: ShardEvent, holdings: Holdings): boolean {
  switch (event.type) {
    case 'due':
      return state.name === 'waiting'
    case 'permitted':
      return state.name === 'queued'
    case 'unproven':
      return state.name === 'queued' || state.name === 'proving'
    case 'hello':
      return state.name === 'connecting' && holdings.hasConnection
    case 'proven':
      return state.name === 'proving'
    case 'ready':
      return state.name === 'identifying'
    case 'resumed':
      return state.name === 'resuming'
    case 'unreachable':
      return state.name === 'connecting' && holdings.hasConnection
    case 'room':
      return state.name === 'parked'
    case 'start':
      return false
    case 'steady':
    case 'reconnect':
    case 'invalid_session':
    case 'closed':
    case 'timeout':
    case 'zombie':
    case 'bad_frame':
    case 'full':
      return holdings.hasConnection
    case 'restart':
    case 'lost':
    case 'stop':
      return true
  }
}

const simple = [
  'due',
  'permitted',
  'unproven',
  'hello',
  'proven',
  'ready',
  'resumed',
  'steady',
  'reconnect',
  'unreachable',
  'timeout',
  'zombie',
  'bad_frame',
  'full',
  'room',
  'restart',
] as const

const anyEvent: fc.Arbitrary<ShardEvent> = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom(...simple).map((type) => ({ type })) },
  fc.boolean().map((isResumable) => ({ type: 'invalid_session' as const, isResumable })),
  fc
    .constantFrom(1000, 1006, 4000, 4003, 4005, 4007, 4008, 4009)
    .map((closeCode) => ({ type: 'closed' as const, closeCode })),
)

test('no sequence of events identifies without a permit, resumes without a session, or keeps a permit', () => {
  fc.assert(
    fc.property(fc.boolean(), fc.array(anyEvent, { maxLength: 200 }), (isResumable, events) => {
      const holdings = new Holdings(isResumable)
      let state: ShardState = { name: 'idle' }
      const apply = (event: ShardEvent): void => {
        const before = state
        if (!isPossible(before, event, holdings) && event.type !== 'start') return
        holdings.before(event)
        const next = transition(before, event)
        state = next.state
        for (const effect of next.effects) holdings.run(effect)
        const connected = ['connecting', 'proving', 'identifying', 'resuming', 'ready']
        expect(holdings.hasConnection).toBe(connected.includes(state.name))
      }
      apply({
        type: 'start',
        step: isResumable
          ? { kind: 'resume', url: 'session', refusals: 0 }
          : { kind: 'identify', why: 'first' },
      })
      for (const event of events) apply(event)
      apply({ type: 'stop' })
      expect(holdings.hasPermit, 'no permit is kept').toBe(false)
      expect(holdings.hasConnection).toBe(false)
    }),
    { numRuns: 1000 },
  )
})
