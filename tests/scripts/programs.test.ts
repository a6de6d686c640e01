import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { projectDir, projectFiles } from '../tidy/tree.ts'

const { bin } = JSON.parse(readFileSync(join(projectDir, 'package.json'), 'utf8')) as {
  bin: Record<string, string>
}
const sources = projectFiles.filter((path) => /^(cmd\/[^/]+|sim)\/main\.ts$/.test(path))
const AN_OLD_VERSION = '20.20.2'

/** Loaded before the program: it then believes that it runs on that version. */
const PRETEND_OLD = `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'${AN_OLD_VERSION}'}})`

/** The folder that an installed package would be: dist/ and what it reads beside it. */
let installed: string
let build: Ended

beforeAll(() => {
  installed = mkdtempSync(join(tmpdir(), 'gateway-installed-'))
  for (const name of ['package.json', 'node_modules', 'migrations', 'proto']) {
    symlinkSync(join(projectDir, name), join(installed, name))
  }
  const project = ['-p', join(projectDir, 'tsconfig.build.json')]
  const outDir = ['--outDir', join(installed, 'dist')]
  build = run(join(projectDir, 'node_modules/.bin/tsc'), [...project, ...outDir])
})

afterAll(() => rmSync(installed, { recursive: true, force: true }))

interface Ended {
  readonly status: number | null
  readonly output: string
  readonly errors: string
}

function run(program: string, args: readonly string[]): Ended {
  const { status, stdout, stderr } = spawnSync(program, [...args], {
    encoding: 'utf8',
    timeout: 15_000,
    // Neither a token nor a setting of whoever runs the tests.
    env: { PATH: process.env['PATH'] ?? '' },
  })
  return { status, output: stdout, errors: stderr }
}

/** A Node of the system that is too old for the programs, where there is one. */
function oldNode(): string | null {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, 'node')
    const { status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' })
    if (status === 0 && Number(/^v(\d+)/.exec(stdout)?.[1]) < 22) return path
  }
  return null
}

function expectRefusal(ended: Ended): void {
  expect(ended.status).toBe(1)
  expect(ended.output).toBe('')
  const [line, ...more] = ended.errors.trimEnd().split('\n')
  expect(line).toMatch(/needs Node\.js 22\.19 or later, this is \d+\.\d+\.\d+: install Node\.js 24/)
  expect(more).toEqual([])
}

describe('installed programs', () => {
  test('are built without an error', () => {
    expect(build).toEqual({ status: 0, output: '', errors: '' })
  })

  test.each(Object.entries(bin))('%s -help exits 0', (_name, file) => {
    const ended = run(process.execPath, [join(installed, file), '-help'])
    expect(ended).toMatchObject({ status: 0, errors: '' })
    expect(ended.output).toContain('-')
  })

  test.each(Object.entries(bin))('%s refuses an older Node in one sentence', (_name, file) => {
    expectRefusal(run(process.execPath, ['--import', PRETEND_OLD, join(installed, file)]))
    const old = oldNode()
    if (old !== null) expectRefusal(run(old, [join(installed, file)]))
  })

  test('each is made from a main.ts that is compiled and can be run by itself', () => {
    for (const file of Object.values(bin)) {
      expect(sources).toContain(file.replace('dist/', '').replace(/\.js$/, '.ts'))
      expect(readFileSync(join(installed, file), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
    }
  })
})

describe('programs from source', () => {
  test.each(sources)('%s refuses an older Node before it imports the rest', (file) => {
    expectRefusal(run(process.execPath, ['--import', PRETEND_OLD, join(projectDir, file)]))
    const imported = readFileSync(join(projectDir, file), 'utf8').matchAll(/^import .*'(.*)'$/gm)
    expect([...imported].map(([, target]) => target)).toEqual([
      file.startsWith('sim/') ? '../src/base/index.ts' : '../../src/base/index.ts',
    ])
  })
})
