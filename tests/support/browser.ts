/** Debian's Chromium, headless, driven by playwright-core, which brings no browser of its own. */
import { type Browser, chromium } from 'playwright-core'
import { findOnPath } from './binaries.ts'

/** Null where it is not installed. */
export async function launchBrowser(): Promise<Browser | null> {
  const executablePath = findOnPath('chromium')
  if (executablePath === null) return null
  // As root Chromium refuses to run in its sandbox.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  return chromium.launch({ executablePath, args })
}
