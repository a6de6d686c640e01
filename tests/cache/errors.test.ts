import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { CACHE_ERRORS } from '../../src/cache/index.ts'

it('every code of the room is raised somewhere and says in sentences what to do', () => {
  const folder = join(import.meta.dirname, '../../src/cache')
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && name !== 'errors.ts')
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('\n')
  for (const [code, text] of Object.entries(CACHE_ERRORS)) {
    expect(sources, code).toContain(`'${code}'`)
    expect(text, code).toMatch(/^[A-Z].*\.$/)
  }
})
