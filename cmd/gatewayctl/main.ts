#!/usr/bin/env node
// The guard runs before the rest is imported: an older Node stops with a sentence, not with a stack.
import { requireNode } from '../../src/base/index.ts'

requireNode('gatewayctl')
const { main } = await import('./run.ts')
await main(process.argv.slice(2), process.env)
