package yamlfile

import "strings"

// Variable returns what stands between the braces of a text that is nothing but
// ${NAME}, as it is written. Which names there are is the reader's to say.
func Variable(text string) (name string, ok bool) {
	name, ok = strings.CutPrefix(strings.TrimSpace(text), "${")
	if ok {
		name, ok = strings.CutSuffix(name, "}")
	}
	if !ok || strings.ContainsAny(name, "${}") {
		return "", false
	}
	return name, true
}

// Nearest returns the word that differs least from one that may be mistyped; "" if
// all differ much.
func Nearest(word string, words []string) string {
	best, least := "", len(word)/3+2
	for _, w := range words {
		if d := distance(word, w); d < least {
			best, least = w, d
		}
	}
	return best
}

// distance is the number of letters to insert, drop or change (Levenshtein).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
