import { describe, expect, test } from 'vitest'
import { linesMatching, projectFiles, readProjectFile } from './tree.ts'

const LINES_MAX = 600

const sources = projectFiles.filter((path) => path.endsWith('.ts'))
const roomFiles = sources.filter((path) => path.startsWith('src/'))
const texts = projectFiles.filter((path) => !/\.(etf|bin|png|gz|zst|ico|woff2?)$/.test(path))

describe('sources', () => {
  test(`no file in src is longer than ${LINES_MAX} lines`, () => {
    const tooLong = roomFiles.filter((path) => readProjectFile(path).split('\n').length > LINES_MAX)
    expect(tooLong).toEqual([])
  })

  test('time and randomness come from base alone', () => {
    const outside = roomFiles.filter((path) => !path.startsWith('src/base/'))
    const own = /\bDate\.now\(|\bMath\.random\b|\bnew Date\(\)|\bperformance\.now\(/
    expect(linesMatching(outside, own)).toEqual([])
    // A socket's own setTimeout is another thing: it has an object before it.
    expect(linesMatching(outside, /(?<![.\w])(setTimeout|setInterval)\(/)).toEqual([])
  })

  test('there is no default export but where a tool asks for one', () => {
    const own = sources.filter((path) => !path.endsWith('.config.ts'))
    expect(linesMatching(own, /^export default\b|\bas default\s*[,}]/)).toEqual([])
  })

  test('a file is named for what it holds', () => {
    const vague = projectFiles.filter((path) =>
      /(^|\/)(utils?|helpers?|types|misc|common)(\.ts$|\/)/.test(path),
    )
    expect(vague).toEqual([])
  })

  test('file names are kebab-case', () => {
    const odd = sources.filter(
      (path) => !/^[a-z0-9-]+(\.[a-z0-9-]+)*\.ts$/.test(path.split('/').at(-1)!),
    )
    expect(odd).toEqual([])
  })

  test('no code is switched off in a comment, no test is skipped or alone', () => {
    const testFiles = sources.filter((path) => path.startsWith('tests/'))
    expect(linesMatching(testFiles, /\b(test|describe|it)\.(skip|only|todo)\b/)).toEqual([])
    expect(
      linesMatching(
        sources,
        /@ts-(nocheck|ignore)\b|^\s*\/\/\s*(const|let|import|return)\s.*[;({]$/,
      ),
    ).toEqual([])
  })

  test("no path of somebody's machine and no registry's address", () => {
    // In pieces, so that this file does not hold what it looks for.
    const hosts = [
      'registry.npmjs',
      'registry.yarnpkg',
      'deb.debian',
      'proxy.golang',
      'static.crates',
    ]
    const folders = ['work', 'root', 'home/[a-z]+', 'Users/[A-Za-z]+'].map((name) => `/${name}/`)
    const pattern = new RegExp(
      `(^|[\\s'"\`(=:])(${folders.join('|')})|${hosts.join('\\.(?:org|com|io)|')}\\.org`,
    )
    const self = 'tests/tidy/sources.test.ts'
    expect(
      linesMatching(
        texts.filter((path) => path !== self),
        pattern,
      ),
    ).toEqual([])
  })
})
