#!/usr/bin/env node
// The guard runs before the rest is imported: an older Node stops with a sentence, not with a stack.
import { requireNode } from '../src/base/index.ts'

requireNode('gateway-sim')
const { runProgram } = await import('./program.ts')
process.exitCode = await runProgram(process.argv.slice(2))
