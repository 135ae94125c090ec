package form

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// Policy says which forms its signer allows.
type Policy struct {
	expires    time.Time
	conditions []condition
	min, max   int64 // of the file's size in bytes
}

// condition is one of a policy's, on a field in lower case.
type condition struct {
	field, value string
	prefix       bool // starts-with
}

// String is the condition as MinIO writes it in its answers.
func (c condition) String() string {
	op := "eq"
	if c.prefix {
		op = "starts-with"
	}
	return fmt.Sprintf("[%s, $%s, %s]", op, c.field, c.value)
}

// ParsePolicy reads a policy as the form has it, in base64. ErrPolicy.
func ParsePolicy(text string) (*Policy, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("base64: %w", ErrPolicy)
	}
	if repeatsName(raw) {
		return nil, fmt.Errorf("a name is given twice: %w", ErrPolicy)
	}
	var document struct {
		Expiration string            `json:"expiration"`
		Conditions []json.RawMessage `json:"conditions"`
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&document); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrPolicy, err) //nolint:errorlint // one sentinel is enough
	}
	if _, err := dec.Token(); err != io.EOF { //nolint:errorlint // bare at the end
		return nil, fmt.Errorf("something follows the document: %w", ErrPolicy)
	}
	p := &Policy{max: math.MaxInt64}
	if p.expires, err = time.Parse(time.RFC3339, document.Expiration); err != nil {
		return nil, fmt.Errorf("expiration: %w", ErrPolicy)
	}
	for _, one := range document.Conditions {
		if err := p.add(one); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// repeatsName says whether an object in a document gives a name twice, in any case:
// a decoder would drop one of them. A document that does not parse does not.
func repeatsName(raw []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(raw))
	var open []map[string]bool // of the objects and lists around; nil for lists
	name := false              // the next token is a name
	for {
		token, err := dec.Token()
		if err != nil {
			return false
		}
		switch token {
		case json.Delim('{'):
			open, name = append(open, map[string]bool{}), true
			continue
		case json.Delim('['):
			open = append(open, nil)
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		default:
			if text, ok := token.(string); ok && name {
				names := open[len(open)-1]
				if text = strings.ToLower(text); names[text] {
					return true
				}
				names[text], name = true, false
				continue
			}
		}
		name = len(open) > 0 && open[len(open)-1] != nil
	}
}

// add takes one condition: {"FIELD": "VALUE"}, ["eq" or "starts-with", "$FIELD",
// "VALUE"] or ["content-length-range", MIN, MAX].
func (p *Policy) add(raw json.RawMessage) error {
	var equal map[string]string
	if json.Unmarshal(raw, &equal) == nil && len(equal) > 0 {
		for field, value := range equal {
			p.conditions = append(p.conditions, condition{field: strings.ToLower(field), value: value})
		}
		return nil
	}
	var list []any
	if json.Unmarshal(raw, &list) != nil || len(list) != 3 {
		return fmt.Errorf("condition %s: %w", raw, ErrPolicy)
	}
	op, _ := list[0].(string)
	if strings.EqualFold(op, "content-length-range") {
		low, ok1 := size(list[1])
		high, ok2 := size(list[2])
		if !ok1 || !ok2 || low > high {
			return fmt.Errorf("condition %s: %w", raw, ErrPolicy)
		}
		p.min, p.max = max(p.min, low), min(p.max, high)
		return nil
	}
	field, ok1 := list[1].(string)
	value, ok2 := list[2].(string)
	field, named := strings.CutPrefix(field, "$")
	prefix := strings.EqualFold(op, "starts-with")
	if !ok1 || !ok2 || !named || !prefix && !strings.EqualFold(op, "eq") {
		return fmt.Errorf("condition %s: %w", raw, ErrPolicy)
	}
	p.conditions = append(p.conditions, condition{field: strings.ToLower(field), value: value, prefix: prefix})
	return nil
}

// size is a number of bytes, which SDKs also write as text.
func size(v any) (int64, bool) {
	switch v := v.(type) {
	case float64:
		return int64(v), v >= 0 && v <= 1<<53 && v == math.Trunc(v)
	case string:
		n, err := strconv.ParseUint(v, 10, 53)
		return int64(n), err == nil
	}
	return 0, false
}

// ConditionError is a condition that a form does not meet. It is an ErrCondition.
type ConditionError struct{ Condition string }

// Error names the condition.
func (e *ConditionError) Error() string { return ErrCondition.Error() + ": " + e.Condition }

// Unwrap returns ErrCondition.
func (e *ConditionError) Unwrap() error { return ErrCondition }

// UncoveredError says that a form has a field of which its policy says nothing.
type UncoveredError struct{ Field string }

// Error names the field.
func (e *UncoveredError) Error() string {
	return fmt.Sprintf("the policy does not name the form's field %q", e.Field)
}

// Check judges a form's fields; bucket is the one it is sent to. ErrExpired,
// *ConditionError, *UncoveredError.
func (p *Policy) Check(fields map[string]string, bucket string, now time.Time) error {
	if !now.Before(p.expires) {
		return ErrExpired
	}
	covered := make(map[string]bool, len(p.conditions))
	for _, c := range p.conditions {
		value := fields[c.field]
		if c.field == "bucket" {
			value = bucket
		}
		if c.prefix && !strings.HasPrefix(value, c.value) || !c.prefix && value != c.value {
			return &ConditionError{Condition: c.String()}
		}
		covered[c.field] = true
	}
	if !covered["bucket"] { // else it were good for every bucket of its signer
		return &UncoveredError{Field: "bucket"}
	}
	for name := range fields {
		if !covered[name] && !exempt(name) {
			return &UncoveredError{Field: name}
		}
	}
	return nil
}

// exempt says that a field need not be in the policy.
func exempt(name string) bool {
	switch name {
	case "policy", "x-amz-signature", "signature", "awsaccesskeyid", "file":
		return true
	}
	return strings.HasPrefix(name, "x-ignore-")
}

// CheckSize judges the file's size in bytes. ErrTooSmall, ErrTooBig.
func (p *Policy) CheckSize(n int64) error {
	switch {
	case n < p.min:
		return ErrTooSmall
	case n > p.max:
		return ErrTooBig
	}
	return nil
}
