/** What a project gets that installs the package and imports `gateway/etf`, with nothing else installed. */
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { projectDir } from '../tidy/tree.ts'

const CONSUMER = `
import { decodeTerm, encodeTerm, FieldReader, NEED_MORE, snowflakeTextAt } from 'gateway/etf'
import type { DecodeOptions } from 'gateway/etf'
const options: DecodeOptions = { bigints: 'string' }
const bytes: Uint8Array = encodeTerm({ id: 175928847299117063n, tags: [1, 'é', null] })
const reader = new FieldReader(['id'])
if (reader.read(bytes, 1, bytes.length) === NEED_MORE) throw new Error('cut')
const id: string | null = snowflakeTextAt(bytes, reader.starts[0]!, reader.ends[0]!)
console.log(JSON.stringify([id, decodeTerm(bytes, options)]))
// @ts-expect-error: the types are those of the codec and not any
decodeTerm(bytes, { bigints: 'float' })
`
const WORDS = '["175928847299117063",{"id":"175928847299117063","tags":[1,"é",null]}]\n'

const folder = mkdtempSync(join(tmpdir(), 'gateway-packed-'))
const project = join(folder, 'project')
const consumer = join(folder, 'consumer')
const typeRoots = [join(projectDir, 'node_modules/@types')]
const tsc = join(projectDir, 'node_modules/.bin/tsc')

beforeAll(() => {
  const installed = join(consumer, 'node_modules/gateway')
  mkdirSync(project)
  mkdirSync(installed, { recursive: true })
  copyFileSync(join(projectDir, 'package.json'), join(project, 'package.json'))
  write(project, 'tsconfig.json', {
    extends: join(projectDir, 'tsconfig.build.json'),
    compilerOptions: { rootDir: projectDir, outDir: join(project, 'dist'), typeRoots },
    include: [join(projectDir, 'src/etf')],
  })
  run(tsc, ['-p', project])
  run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], project)
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))!
  run('tar', ['-xzf', join(folder, tarball), '-C', installed, '--strip-components', '1'])
  write(consumer, 'package.json', { name: 'consumer', type: 'module', private: true })
  writeFileSync(join(consumer, 'main.ts'), CONSUMER)
  write(consumer, 'tsconfig.json', {
    compilerOptions: {
      module: 'nodenext',
      target: 'es2023',
      strict: true,
      noUncheckedIndexedAccess: true,
      typeRoots,
      types: ['node'],
    },
    files: ['main.ts'],
  })
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the package, packed and installed', () => {
  test('gives types and a codec that needs no other package', () => {
    run(tsc, ['-p', consumer])
    expect(run(process.execPath, ['main.js'], consumer)).toBe(WORDS)
  })
})

function write(at: string, name: string, value: unknown): void {
  writeFileSync(join(at, name), JSON.stringify(value))
}

/** @throws with what the program said. */
function run(program: string, args: readonly string[], cwd: string = folder): string {
  try {
    return execFileSync(program, [...args], { cwd, encoding: 'utf8' })
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${program} ${args.join(' ')}:\n${stdout}${stderr}`, { cause: error })
  }
}
