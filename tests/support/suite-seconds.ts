import type { Reporter, TestModule } from 'vitest/node'

interface Suite {
  seconds: number
  files: number
  tests: number
}

/**
 * Ends a run with a line per suite (a folder of tests/) and the seconds of its files. Files run side by
 * side, so the sum is above the run's own time; it tells which suite grows.
 */
export class SuiteSeconds implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const suites = new Map<string, Suite>()
    const counts = { passed: 0, failed: 0, skipped: 0, pending: 0 }
    for (const module of modules) {
      const name = module.relativeModuleId.split('/')[1] ?? module.relativeModuleId
      const suite = suites.get(name) ?? { seconds: 0, files: 0, tests: 0 }
      suites.set(name, suite)
      const { duration, collectDuration, setupDuration } = module.diagnostic()
      suite.seconds += (duration + collectDuration + setupDuration) / 1000
      suite.files++
      for (const test of module.children.allTests()) {
        suite.tests++
        counts[test.result().state]++
      }
      // A file that could not be loaded has no tests to fail.
      if (module.state() === 'failed' && module.errors().length > 0) counts.failed++
    }
    console.log('\n  suite        seconds  tests  files')
    for (const [name, { seconds, files, tests }] of [...suites].sort(bySeconds)) {
      const cells = [seconds.toFixed(1).padStart(8), String(tests).padStart(6)]
      console.log(`  ${name.padEnd(12)}${cells.join(' ')} ${String(files).padStart(6)}`)
    }
    const skipped = counts.skipped + counts.pending
    const closing = `${counts.passed} passed, ${counts.failed} failed`
    process.once('exit', () => {
      console.log(skipped === 0 ? closing : `${closing}, ${skipped} skipped`)
    })
  }
}

function bySeconds(a: readonly [string, Suite], b: readonly [string, Suite]): number {
  return b[1].seconds - a[1].seconds
}
