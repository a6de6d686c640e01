import { describe, expect, test } from 'vitest'
import { CLOSE_CODES } from '../../src/discord/index.ts'
import { RESUME_REFUSALS_MAX, transition } from '../../src/shard/state.ts'
import type { Effect, ShardEvent, ShardState, Step } from '../../src/shard/state.ts'

const resume: Step = { kind: 'resume', url: 'session', refusals: 0 }
const identify: Step = { kind: 'identify', why: 'first' }

const STATES: Readonly<Record<ShardState['name'], ShardState>> = {
  idle: { name: 'idle' },
  waiting: { name: 'waiting', step: resume, attempt: 2 },
  queued: { name: 'queued', step: identify, attempt: 2 },
  connecting: { name: 'connecting', step: resume, attempt: 2 },
  proving: { name: 'proving', step: resume, attempt: 2 },
  identifying: { name: 'identifying', step: identify, attempt: 2 },
  resuming: { name: 'resuming', step: resume, attempt: 2 },
  ready: { name: 'ready', attempt: 2, isSteady: false },
  parked: { name: 'parked' },
  stopped: { name: 'stopped' },
  failed: { name: 'failed', closeCode: 4004 },
}
const steady: ShardState = { name: 'ready', attempt: 0, isSteady: true }
const connectingToIdentify: ShardState = { name: 'connecting', step: identify, attempt: 2 }

function effects(state: ShardState, event: ShardEvent): string[] {
  return transition(state, event).effects.map(({ do: name }: Effect) => name)
}

function step(state: ShardState, event: ShardEvent): Step | null {
  const next = transition(state, event).state
  return 'step' in next ? next.step : null
}

describe.each(CLOSE_CODES)('close $code ($name)', ({ code, action }) => {
  const event: ShardEvent = { type: 'closed', closeCode: code }

  test('of a session in use', () => {
    for (const state of [STATES.ready, STATES.resuming, steady]) {
      if (action === 'stop') {
        expect(transition(state, event)).toEqual({
          state: { name: 'failed', closeCode: code },
          effects: [{ do: 'fatal', closeCode: code }],
        })
      } else if (action === 'identify') {
        expect(step(state, event)).toEqual({ kind: 'identify', why: 'close_code' })
        expect(effects(state, event)).toEqual(['drop', 'wait'])
      } else {
        expect(step(state, event)).toMatchObject({ kind: 'resume', url: 'session' })
        expect(effects(state, event)).toEqual(['wait'])
      }
    }
  })

  test('of an identify gives the permit back', () => {
    for (const state of [STATES.identifying, connectingToIdentify]) {
      expect(effects(state, event)).toContain('release')
      expect(effects(state, event)).toContain(action === 'stop' ? 'fatal' : 'wait')
      if (action !== 'stop') expect(step(state, event)?.kind).toBe('identify')
    }
  })

  test('before anything was sent keeps the session', () => {
    for (const state of [STATES.connecting, STATES.proving]) {
      if (action === 'stop') expect(transition(state, event).state.name).toBe('failed')
      else expect(step(state, event)?.kind).toBe('resume')
    }
  })
})

test('close 4008 waits longer than any first attempt', () => {
  const next = transition(steady, { type: 'closed', closeCode: 4008 })
  expect(next.effects).toEqual([{ do: 'wait', attempt: 4 }])
})

test('the first loss of a steady connection goes on at once, of an unsteady one it backs off', () => {
  const lost: ShardEvent = { type: 'closed', closeCode: 1006 }
  expect(transition(steady, lost).effects).toEqual([{ do: 'wait', attempt: 0 }])
  expect(transition(STATES.ready, lost).effects).toEqual([{ do: 'wait', attempt: 3 }])
  expect(transition(STATES.ready, { type: 'steady' }).state).toEqual(steady)
})

describe('op 7', () => {
  test('closes and resumes from every connected state that has a session', () => {
    for (const state of [STATES.ready, STATES.resuming, STATES.proving, STATES.connecting]) {
      expect(effects(state, { type: 'reconnect' })).toEqual(['close', 'wait'])
      expect(step(state, { type: 'reconnect' })).toEqual(resume)
    }
  })

  test('before READY gives the permit back and identifies again', () => {
    for (const state of [STATES.identifying, connectingToIdentify]) {
      expect(effects(state, { type: 'reconnect' })).toEqual(['close', 'release', 'wait'])
      expect(step(state, { type: 'reconnect' })?.kind).toBe('identify')
    }
  })
})

describe('op 9', () => {
  const yes: ShardEvent = { type: 'invalid_session', isResumable: true }
  const no: ShardEvent = { type: 'invalid_session', isResumable: false }

  test('true resumes on a new connection', () => {
    for (const state of [STATES.ready, STATES.resuming]) {
      expect(effects(state, yes)).toEqual(['close', 'wait'])
      expect(step(state, yes)).toEqual(resume)
    }
  })

  test('false drops the session and identifies', () => {
    for (const state of [STATES.ready, STATES.resuming, steady]) {
      expect(effects(state, no)).toEqual(['close', 'drop', 'wait'])
      expect(step(state, no)).toEqual({ kind: 'identify', why: 'invalid_session' })
    }
  })

  test.each([yes, no])('in answer to IDENTIFY (%j) gives the permit back and waits', (event) => {
    expect(transition(STATES.identifying, event)).toEqual({
      state: { name: 'waiting', step: { kind: 'identify', why: 'invalid_session' }, attempt: 3 },
      effects: [
        { do: 'close' },
        { do: 'release', outcome: 'invalid_session' },
        { do: 'wait', attempt: 3 },
      ],
    })
  })

  test('never goes on at once', () => {
    expect(transition(steady, no).effects.at(-1)).toEqual({ do: 'wait', attempt: 1 })
  })
})

test('an identify waits for its permit before it connects, a resume does not', () => {
  expect(effects({ name: 'waiting', step: identify, attempt: 0 }, { type: 'due' })).toEqual([
    'acquire',
  ])
  expect(effects({ name: 'waiting', step: resume, attempt: 0 }, { type: 'due' })).toEqual([
    'connect',
  ])
  expect(effects(STATES.queued, { type: 'permitted' })).toEqual(['connect'])
})

test('HELLO is followed by the proof of ownership, and only the proof by IDENTIFY or RESUME', () => {
  expect(effects(STATES.connecting, { type: 'hello' })).toEqual(['prove'])
  expect(effects(STATES.proving, { type: 'proven' })).toEqual(['resume'])
  const proving: ShardState = { name: 'proving', step: identify, attempt: 0 }
  expect(effects(proving, { type: 'proven' })).toEqual(['identify'])
  expect(effects(proving, { type: 'unproven' })).toEqual(['close', 'release', 'wait'])
})

test('an unreachable resume URL is followed by the generic one, and that by the resume URL', () => {
  const generic: Step = { ...resume, url: 'generic' }
  expect(step(STATES.connecting, { type: 'unreachable' })).toEqual(generic)
  expect(step({ ...STATES.connecting, step: generic } as ShardState, { type: 'timeout' })).toEqual(
    resume,
  )
})

test('a RESUME refused by close codes is given up after eight, and lost connections do not count', () => {
  let state: ShardState = STATES.resuming
  for (let count = 1; count < RESUME_REFUSALS_MAX; count++) {
    const next = step(state, { type: 'closed', closeCode: 4000 })
    expect(next).toEqual({ ...resume, refusals: count })
    state = { name: 'resuming', step: next!, attempt: 1 }
  }
  expect(effects(state, { type: 'closed', closeCode: 1006 })).toEqual(['wait'])
  expect(effects(state, { type: 'closed', closeCode: 4000 })).toEqual(['drop', 'wait'])
  expect(step(state, { type: 'closed', closeCode: 4000 })?.kind).toBe('identify')
})

test('READY saves the session; RESUMED has nothing to save', () => {
  expect(transition(STATES.identifying, { type: 'ready' })).toEqual({
    state: STATES.ready,
    effects: [{ do: 'save' }],
  })
  expect(transition(STATES.resuming, { type: 'resumed' })).toEqual({
    state: STATES.ready,
    effects: [],
  })
})

test('a full queue parks, room resumes', () => {
  for (const state of [STATES.ready, STATES.resuming]) {
    expect(effects(state, { type: 'full' })).toEqual(['close', 'await_room'])
  }
  expect(step(STATES.parked, { type: 'room' })).toEqual(resume)
})

test('every state can be stopped and lost, and only what is lost is forgotten', () => {
  for (const state of Object.values(STATES)) {
    const isOver = state.name === 'stopped' || state.name === 'failed'
    expect(transition(state, { type: 'stop' }).state.name).toBe(isOver ? state.name : 'stopped')
    expect(effects(state, { type: 'stop' })).not.toContain('forget')
    expect(effects(state, { type: 'lost' }).includes('forget')).toBe(!isOver)
  }
})

const EVENTS: readonly ShardEvent[] = [
  { type: 'start', step: resume },
  { type: 'due' },
  { type: 'permitted' },
  { type: 'unproven' },
  { type: 'hello' },
  { type: 'proven' },
  { type: 'ready' },
  { type: 'resumed' },
  { type: 'steady' },
  { type: 'reconnect' },
  { type: 'invalid_session', isResumable: true },
  { type: 'invalid_session', isResumable: false },
  { type: 'closed', closeCode: 1006 },
  { type: 'closed', closeCode: 4009 },
  { type: 'closed', closeCode: 4004 },
  { type: 'unreachable' },
  { type: 'timeout' },
  { type: 'zombie' },
  { type: 'bad_frame' },
  { type: 'full' },
  { type: 'room' },
  { type: 'restart' },
]

test('a stopped or failed shard does nothing any more', () => {
  for (const state of [STATES.stopped, STATES.failed]) {
    for (const event of EVENTS) expect(transition(state, event)).toEqual({ state, effects: [] })
  }
})

test('whatever happens, a permit that may be out is given back or kept for the next state', () => {
  const holding: ShardState[] = [
    STATES.queued,
    connectingToIdentify,
    { name: 'proving', step: identify, attempt: 0 },
    STATES.identifying,
  ]
  for (const state of holding) {
    for (const event of EVENTS) {
      const { state: next } = transition(state, event)
      const keeps = ['queued', 'connecting', 'proving', 'identifying', 'ready'].includes(next.name)
      const names = effects(state, event)
      expect(names.includes('release') || names.includes('save') || keeps).toBe(true)
    }
  }
})

test('whoever waits is woken: every state but the last ones has a way on', () => {
  for (const state of Object.values(STATES)) {
    for (const event of EVENTS) {
      const { state: next, effects: does } = transition(state, event)
      if (next.name === 'waiting' && next !== state) expect(does.at(-1)?.do).toBe('wait')
      if (next.name === 'queued' && next !== state) expect(does.at(-1)?.do).toBe('acquire')
      if (next.name === 'parked' && next !== state) expect(does.at(-1)?.do).toBe('await_room')
    }
  }
})
