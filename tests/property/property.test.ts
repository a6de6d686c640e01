import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts'
import { readPropertyFlags } from './harness/flags.ts'
import { PropertyWorlds } from './harness/run.ts'

const SEEDS = Array.from({ length: 20 }, (_, index) => index + 1)

describe('State is what a client can know of a world', () => {
  let fresh: FreshDatabase
  let worlds: PropertyWorlds
  beforeAll(async () => {
    fresh = await freshDatabase()
    worlds = await PropertyWorlds.open(fresh.url)
  })
  afterAll(async () => {
    await worlds.close()
    await fresh.drop()
  })

  test.each(SEEDS)('npm run property -- -seeds 1 -seed %i', async (seed) => {
    expect(await worlds.run(seed)).toEqual([])
  })
})

test('flags are read in Go’s style, and a wrong one is said', () => {
  expect(readPropertyFlags([])).toEqual({ seed: 1, seeds: 20 })
  expect(readPropertyFlags(['-seeds=3', '--seed', '7'])).toEqual({ seed: 7, seeds: 3 })
  expect(readPropertyFlags(['-help'])).toBe(null)
  expect(() => readPropertyFlags(['-sed', '1'])).toThrow('did you mean -seed?')
  expect(() => readPropertyFlags(['-seeds', 'many'])).toThrow('whole number')
})
