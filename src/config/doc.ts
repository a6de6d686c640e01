import { GATEWAY_OPTIONS, GATEWAY_VARIABLES } from './gateway-options.ts'
import { GATEWAYCTL_OPTIONS } from './gatewayctl-options.ts'
import { renderOptionTable } from './help.ts'
import { MIGRATE_OPTIONS } from './migrate-options.ts'
import { STATE_OPTIONS } from './state-options.ts'

/** docs/config.md, whole; a test compares it with the file. */
export function renderConfigDoc(): string {
  return `# Configuration

This page is written by \`npm run docs\` from the tables in src/config; a test compares the two.

Flags are written as in Go: one or two dashes, \`-flag value\` or \`-flag=value\`. The flag wins over the environment
variable, the variable over the default. An empty value means not given.

## gateway

${renderOptionTable(GATEWAY_OPTIONS)}

Environment variables without a flag:

| variable | meaning |
|---|---|
${GATEWAY_VARIABLES.map(({ name, sentence }) => `| \`${name}\` | ${sentence} |`).join('\n')}

## gateway migrate

${renderOptionTable(MIGRATE_OPTIONS)}

## state

${renderOptionTable(STATE_OPTIONS)}

## gatewayctl

${renderOptionTable(GATEWAYCTL_OPTIONS)}
`
}
