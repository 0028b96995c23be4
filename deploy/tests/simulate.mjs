// Reads a list of IAM simulations (JSON, as @cloud-copilot/iam-simulate takes them); prints the list of their results.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

// The package is installed where the caller says, and not beside this file.
const require = createRequire(pathToFileURL(process.argv[2] + '/'))
const { runSimulation } = await import(pathToFileURL(require.resolve('@cloud-copilot/iam-simulate')))

const results = []
for (const simulation of JSON.parse(readFileSync(0, 'utf8'))) {
  const response = await runSimulation(simulation, {})
  results.push(response.overallResult ?? `error: ${JSON.stringify(response.errors)}`)
}
console.log(JSON.stringify(results))
