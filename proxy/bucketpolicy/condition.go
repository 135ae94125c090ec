package bucketpolicy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/glob"
)

// holds says whether all conditions of the statement hold.
func (s *statement) holds(q *Request) bool {
	for operator, conditions := range s.Condition {
		for key, wanted := range conditions {
			values, known := q.Values[strings.ToLower(key)]
			if known && !judge(operator, values, wanted) {
				return false
			}
		}
	}
	return true
}

// judge says whether one condition holds. Values of a condition are alternatives, and
// so are a request's: spellings of one, or none. Operators that are not about
// texts, truth values or addresses, and variables, cannot be judged here: they are taken
// to hold, for a statement that denies.
func judge(operator string, values []string, wanted words) bool {
	if slices.ContainsFunc(wanted, func(w string) bool { return strings.Contains(w, "${") }) {
		return true
	}
	name, all := operator, false
	if qualifier, rest, ok := strings.Cut(operator, ":"); ok {
		name, all = rest, qualifier == "ForAllValues"
	}
	name, ifExists := strings.CutSuffix(name, "IfExists")
	if len(values) == 0 && ifExists {
		return true
	}
	if name == "Null" {
		return len(wanted) > 0 && strings.EqualFold(wanted[0], "true") == (len(values) == 0)
	}
	name, negated := cutNot(name)
	equal, ok := comparisons[name]
	if !ok {
		return true
	}
	fits := func(value string) bool {
		return slices.ContainsFunc(wanted, func(w string) bool { return equal(w, value) })
	}
	if all && len(values) == 0 {
		return true
	}
	return slices.ContainsFunc(values, fits) != negated
}

// cutNot takes the Not out of an operator's name.
func cutNot(name string) (positive string, negated bool) {
	switch name {
	case "NotIpAddress":
		return "IpAddress", true
	case "StringNotEquals", "StringNotEqualsIgnoreCase", "StringNotLike", "ArnNotEquals", "ArnNotLike":
		return strings.Replace(name, "Not", "", 1), true
	default:
		return name, false
	}
}

// comparisons are the operators that can be judged, by name.
var comparisons = map[string]func(wanted, value string) bool{
	"StringEquals":           func(wanted, value string) bool { return wanted == value },
	"StringEqualsIgnoreCase": strings.EqualFold,
	"StringLike":             like,
	"ArnEquals":              like,
	"ArnLike":                like,
	"Bool":                   strings.EqualFold,
	"IpAddress":              inNetwork,
}

// like says whether a pattern, with * and ?, fits.
func like(pattern, text string) bool { return glob.Patterns{pattern}.Match(text) }

// inNetwork says whether an address is the one that is wanted, or in that network.
func inNetwork(wanted, value string) bool {
	addr, err := netip.ParseAddr(value)
	if err != nil {
		return false
	}
	if network, err := netip.ParsePrefix(wanted); err == nil {
		return network.Contains(addr.Unmap())
	}
	one, err := netip.ParseAddr(wanted)
	return err == nil && one == addr.Unmap()
}
