// Package glob matches names of buckets, KMS keys and access keys.
package glob

// Patterns is a list of patterns of names: * matches any run of characters,
// ? one character.
type Patterns []string

// Match says whether one of the patterns matches name.
func (p Patterns) Match(name string) bool {
	for _, pattern := range p {
		if matchPattern(pattern, name) {
			return true
		}
	}
	return false
}

// matchPattern is the usual linear glob match: on a mismatch it goes back to
// the last * and lets it take one character more.
func matchPattern(pattern, name string) bool {
	p, n := 0, 0
	star, mark := -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
