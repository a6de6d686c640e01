#!/usr/bin/env node
/** `gateway-sim`. On an old Node it says so in one sentence, before any import that could fail. */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(
    `gateway-sim needs Node 22.19 or later and this is ${process.versions.node}: install Node 24, or start it from a clone with "npm run sim --", which brings its own.\n`,
  )
  process.exitCode = 1
} else {
  const { runProgram } = await import('./program.ts')
  process.exitCode = await runProgram(process.argv.slice(2))
}

export {}
