import { describe, expect, test } from 'vitest'
import { instrument } from '../../bench/fuzz/instrument.ts'
import { findTerms } from '../../bench/fuzz/term-walker.ts'
import { encodeTerm } from '../../src/etf/index.ts'

/** Runs a function's text with counters. @returns its result and what was counted. */
function run(body: string, argument: unknown): { result: unknown; hits: number[] } {
  const { code, nextId } = instrument(body, 0, 'hits')
  const hits = new Array<number>(nextId).fill(0)
  // oxlint-disable-next-line typescript/no-implied-eval
  const made = new Function('hits', 'x', code) as (hits: number[], x: unknown) => unknown
  return { result: made(hits, argument), hits }
}

describe('counters of branches', () => {
  test('both ways of an if are told apart', () => {
    const body = 'if (x > 1) return 1\nelse if (x === 1) { return 2 }\nreturn 3'
    expect(run(body, 2)).toEqual({ result: 1, hits: [1, 0, 0, 0] })
    expect(run(body, 1)).toEqual({ result: 2, hits: [0, 1, 1, 0] })
    expect(run(body, 0)).toEqual({ result: 3, hits: [0, 1, 0, 1] })
  })

  test('turns of a while and cases of a switch are counted', () => {
    const body =
      "while (x > 0) x--\nswitch (x) {\ncase 0:\ncase ':':\nreturn 'a'\ndefault:\nreturn 'b'\n}"
    expect(run(body, 3)).toEqual({ result: 'a', hits: [3, 1, 1, 1, 0] })
    expect(run(body, -1)).toEqual({ result: 'b', hits: [0, 1, 0, 0, 1] })
  })

  test('strings, templates, regular expressions and comments stay as they are', () => {
    const code = [
      "const a = 'if (x) \\' case y:'",
      'const b = `while (true) default:`',
      'const c = /if (\\/) case/',
      '// if (never) case 1:',
      '/* while (never) */ const d = 8 / 2',
      'x.if (1)',
    ].join('\n')
    expect(instrument(code, 5, 'hits')).toEqual({ code, nextId: 5 })
  })

  test('a parenthesis in a string does not end a condition', () => {
    expect(run("if (x === ')') return 1\nreturn 2", ')')).toEqual({ result: 1, hits: [1, 0] })
  })
})

describe('the walker of terms', () => {
  test('finds each term with its end', () => {
    const bytes = encodeTerm({ a: [1, 'xy'], b: null })
    const found = findTerms(bytes, 100).map(({ start, end }) =>
      Buffer.from(bytes.subarray(start, end)).toString('latin1'),
    )
    expect(found.map((term) => term.charCodeAt(0))).toEqual([116, 109, 108, 97, 109, 106, 109, 100])
    expect(found[2]).toBe(found.slice(3, 6).join('').padStart(found[2]!.length, 'l\0\0\0\x02'))
    expect(found[7]).toBe('d\0\x03nil')
  })

  test('damaged bytes end the walk', () => {
    expect(findTerms(Buffer.of(131, 108, 255, 255, 255, 255, 97, 1), 100)).toHaveLength(2)
    expect(findTerms(Buffer.of(131, 109, 255, 255, 255, 255), 100)).toHaveLength(1)
    expect(findTerms(Buffer.of(131), 100)).toHaveLength(0)
  })
})
