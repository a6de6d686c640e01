/** The oldest Node that every dependency runs on (undici 8 sets it). */
const NODE_MAJOR_MIN = 22
const NODE_MINOR_MIN = 19

/** The sentence that refuses an older Node; null when `version` (as `22.19.0`) is new enough. */
function nodeVersionProblem(program: string, version: string): string | null {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > NODE_MAJOR_MIN || (major === NODE_MAJOR_MIN && minor >= NODE_MINOR_MIN)) return null
  return `${program} needs Node.js ${NODE_MAJOR_MIN}.${NODE_MINOR_MIN} or later, this is ${version}: install Node.js 24 LTS, or run it by npm from a clone (npm run ${program.replace(/^gateway-/, '')}).`
}

/**
 * Ends the process with that sentence. Called by each program before it imports anything that an older
 * Node could not load.
 */
export function requireNode(program: string): void {
  const problem = nodeVersionProblem(program, process.versions.node)
  if (problem === null) return
  console.error(problem)
  process.exit(1)
}
