package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

// The bounds of rotate_after. A key has room for a thousand changes, and each of its
// versions is read when the key is.
const (
	minRotateAfter = 24 * time.Hour
	maxRotateAfter = 100 * 365 * 24 * time.Hour
)

// decodeRotateAfter reads a mapping of patterns to ages, or one age for all keys.
func (d *decoder) decodeRotateAfter(n *node) []RotateAfter {
	if n.Kind != yamlfile.Mapping {
		return []RotateAfter{{"*", age(d, n)}}
	}
	var rules []RotateAfter
	for _, f := range n.Fields {
		pattern := f.Key.Text
		switch {
		case !isPattern(pattern):
			d.errorf(f.Key, "rotate_after: %q is no pattern of key names; write a name, or the beginning of names and *", pattern)
		case slices.ContainsFunc(rules, func(r RotateAfter) bool { return r.Pattern == pattern }):
			d.errorf(f.Key, "rotate_after: %q is there twice; keep one", pattern)
		default:
			rules = append(rules, RotateAfter{pattern, age(d, f.Value)})
		}
	}
	return rules
}

// isPattern says whether names of keys can fit a pattern.
func isPattern(pattern string) bool {
	prefix, all := strings.CutSuffix(pattern, "*")
	if all {
		prefix += "x"
	}
	return kms.ValidateKeyName(prefix) == nil
}

// age reads days, such as 365d, or a duration.
func age(d *decoder, n *node) time.Duration {
	text := strings.TrimSpace(d.text(n))
	var age time.Duration
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if number, err := strconv.ParseUint(days, 10, 16); err == nil {
			age = time.Duration(number) * 24 * time.Hour
		}
	} else if hours, err := time.ParseDuration(text); err == nil {
		age = hours
	}
	if age < minRotateAfter || age > maxRotateAfter {
		d.errorf(n, "rotate_after: write a number of days such as 365d, from 1d to 36500d")
		return maxRotateAfter
	}
	return age
}
