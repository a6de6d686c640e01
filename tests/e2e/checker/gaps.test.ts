import { describe, expect, test } from 'vitest'
import { checkGaps, checkIdentifies } from './index.ts'
import type { GapLine, LedgerEnd, LedgerIdentify } from './index.ts'

const end: LedgerEnd = {
  shard: 1,
  session: 'a',
  cause: 'fault',
  lastSent: 90,
  last: 100,
  resumeSeq: 90,
}
const line: GapLine = { shard: 1, session: 'a', from: 91, to: null, cause: 'session_refused' }

describe('checkGaps', () => {
  test('takes a gap line with the ledger’s bounds', () => {
    expect(checkGaps({ ends: [end], gaps: [line] })).toEqual([])
    expect(checkGaps({ ends: [end], gaps: [{ ...line, to: 100 }] })).toEqual([])
  })

  test('names a gap that no line names', () => {
    expect(checkGaps({ ends: [end], gaps: [] })).toMatchObject([
      { what: 'gap_not_named', shard: 1, session: 'a', s: 91 },
    ])
  })

  test('needs no line where nothing was lost, or where the simulator was stopped', () => {
    const whole = { ...end, resumeSeq: 100 }
    expect(checkGaps({ ends: [whole, { ...end, cause: 'stopped' }], gaps: [] })).toEqual([])
  })

  test('names other bounds', () => {
    for (const wrong of [{ from: 92 }, { from: 90 }, { to: 99 }]) {
      const findings = checkGaps({ ends: [end], gaps: [{ ...line, ...wrong }] })
      expect(findings).toMatchObject([{ what: 'gap_bounds', session: 'a' }])
    }
  })

  test('knows that less may have been read than was sent when no RESUME told', () => {
    const silent = { ...end, resumeSeq: null }
    expect(checkGaps({ ends: [silent], gaps: [{ ...line, from: 80 }] })).toEqual([])
    expect(checkGaps({ ends: [silent], gaps: [{ ...line, from: 95 }] })).toMatchObject([
      { what: 'gap_bounds' },
    ])
  })

  test('names a gap that the session could have filled', () => {
    const full: GapLine = { ...line, from: 5, to: 9, cause: 'queue_full' }
    expect(checkGaps({ ends: [], gaps: [full] })).toMatchObject([{ what: 'gap_avoidable', s: 5 }])
    expect(checkGaps({ ends: [end], gaps: [line, full] })).toMatchObject([
      { what: 'gap_avoidable', s: 5 },
    ])
    expect(checkGaps({ ends: [], gaps: [full], allowedCauses: ['queue_full'] })).toEqual([])
  })
})

describe('checkIdentifies', () => {
  const identify = (n: number, shard: number, atMs: number): LedgerIdentify => {
    return { n, shard, atMs, outcome: 'ready', session: `s${n}` }
  }
  const good = [identify(1, 0, 0), identify(2, 1, 5000), identify(3, 1, 20_000)]

  test('takes one per shard and one per lost session', () => {
    expect(checkIdentifies({ identifies: good, ends: [end], shardCount: 2 })).toEqual([])
  })

  test('names one that was added, and one that is missing', () => {
    const added = [...good, identify(4, 0, 40_000)]
    expect(checkIdentifies({ identifies: added, ends: [end], shardCount: 2 })).toMatchObject([
      { what: 'identify_unexpected', shard: 0, session: 's4' },
    ])
    const fewer = good.slice(0, 2)
    expect(checkIdentifies({ identifies: fewer, ends: [end], shardCount: 2 })).toMatchObject([
      { what: 'identify_missing', shard: 1 },
    ])
  })

  test('wants none after a restart', () => {
    const restart = { ends: [], shardCount: 2, after: 3, isFirstRun: false }
    expect(checkIdentifies({ ...restart, identifies: good })).toEqual([])
    expect(
      checkIdentifies({ ...restart, identifies: [...good, identify(4, 1, 90_000)] }),
    ).toMatchObject([{ what: 'identify_unexpected', shard: 1 }])
  })

  test('names two of one key within five seconds', () => {
    const hasty = [identify(1, 0, 0), identify(2, 1, 3000)]
    const input = { identifies: hasty, ends: [], shardCount: 2 }
    expect(checkIdentifies(input)).toMatchObject([{ what: 'identify_too_close', shard: 1 }])
    expect(checkIdentifies({ ...input, maxConcurrency: 2 })).toEqual([])
  })
})
