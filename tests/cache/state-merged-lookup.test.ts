import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { int8, MergedLookup } from '../../src/cache/state/merged-lookup.ts'

const STATEMENT = { name: 'test', text: 'select' }

interface Asked {
  readonly values: readonly string[]
  answer(rows: readonly { n: number; body: string | null }[]): void
  fail(error: Error): void
}

/** A database that answers when the test says so. */
function manualLookup(): { lookup: MergedLookup; asked: Asked[] } {
  const asked: Asked[] = []
  const lookup = new MergedLookup(
    {
      query<Row>(_text: string, values: readonly unknown[] = []): Promise<Row[]> {
        const { promise, resolve, reject } = Promise.withResolvers<Row[]>()
        asked.push({
          values: values as string[],
          answer: (rows) => resolve(rows as Row[]),
          fail: reject,
        })
        return promise
      },
    },
    STATEMENT,
  )
  return { lookup, asked }
}

describe('MergedLookup', () => {
  test('the lookups of one turn are one query, each gets its own answer', async () => {
    const { lookup, asked } = manualLookup()
    const answers = Promise.all([lookup.get('7', '1'), lookup.get('7', '2'), lookup.get('8', '1')])
    await nextTurn()
    expect(asked.map(({ values }) => values)).toEqual([['{7,7,8}', '{1,2,1}']])
    asked[0]!.answer([
      { n: 3, body: 'c' },
      { n: 1, body: 'a' },
    ])
    expect(await answers).toEqual(['a', null, 'c'])
  })

  test('a key asked for twice in a turn is asked of the database once', async () => {
    const { lookup, asked } = manualLookup()
    const answers = Promise.all([lookup.get('5'), lookup.get('5')])
    await nextTurn()
    expect(asked.map(({ values }) => values)).toEqual([['{5}']])
    asked[0]!.answer([{ n: 1, body: 'x' }])
    expect(await answers).toEqual(['x', 'x'])
  })

  test('the next turn asks again: an answer is never kept', async () => {
    const { lookup, asked } = manualLookup()
    const first = lookup.get('5')
    await nextTurn()
    asked[0]!.answer([{ n: 1, body: 'old' }])
    expect(await first).toBe('old')
    const second = lookup.get('5')
    await nextTurn()
    asked[1]!.answer([{ n: 1, body: 'new' }])
    expect(await second).toBe('new')
  })

  test('a failed query fails those who asked in it, and nobody else', async () => {
    const { lookup, asked } = manualLookup()
    const failing = Promise.allSettled([lookup.get('1'), lookup.get('2')])
    await nextTurn()
    const other = lookup.get('3')
    await nextTurn()
    asked[0]!.fail(new Error('away'))
    asked[1]!.answer([{ n: 1, body: 'here' }])
    expect((await failing).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(await other).toBe('here')
  })

  test('four queries are under way at most; what waits meanwhile shares the next one', async () => {
    const { lookup, asked } = manualLookup()
    const answers: Promise<string | null>[] = []
    for (let id = 1; id <= 10; id++) {
      answers.push(lookup.get(String(id)))
      await nextTurn()
    }
    expect(asked.map(({ values }) => values[0])).toEqual(['{1}', '{2}', '{3}', '{4}'])
    asked[0]!.answer([])
    await answers[0]
    await nextTurn()
    expect(asked[4]!.values).toEqual(['{5,6,7,8,9,10}'])
    for (const query of asked) query.answer([])
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 10 }, () => null))
  })

  test('more than a thousand keys are several queries', async () => {
    const { lookup, asked } = manualLookup()
    const answers = Array.from({ length: 2500 }, (_, index) => lookup.get(String(index + 1)))
    await nextTurn()
    expect(asked.map(({ values }) => values[0]!.split(',').length)).toEqual([1000, 1000, 500])
    for (const [index, query] of asked.entries()) query.answer([{ n: 1, body: String(index) }])
    expect((await Promise.all(answers)).filter((answer) => answer !== null)).toEqual([
      '0',
      '1',
      '2',
    ])
  })
})

describe('int8', () => {
  test.each([
    ['1', '1'],
    ['999999999999999999', '999999999999999999'],
    ['9223372036854775807', '9223372036854775807'],
    ['9223372036854775808', '-9223372036854775808'],
    ['18446744073709551615', '-1'],
    ['00000000000000000001', '1'],
  ])('%s is stored as %s', (id, stored) => {
    expect(int8(id)).toBe(stored)
  })
})
