// Package bucketpolicy judges writes by what a bucket's policy demands of their
// encryption: its statements that deny PutObject under a condition on encryption
// headers ("deny unless encrypted"). All else in a policy is MinIO's to judge.
package bucketpolicy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Keys of conditions that a Request has values for, in small letters.
const (
	Method            = "s3:x-amz-server-side-encryption"
	KMSKeyID          = "s3:x-amz-server-side-encryption-aws-kms-key-id"
	CustomerAlgorithm = "s3:x-amz-server-side-encryption-customer-algorithm"
	SecureTransport   = "aws:securetransport"
	SourceIP          = "aws:sourceip"
	UserAgent         = "aws:useragent"
	Referer           = "aws:referer"
)

// encryptionKeys are those that make a statement a demand.
var encryptionKeys = map[string]bool{Method: true, KMSKeyID: true, CustomerAlgorithm: true}

// Request is a write that is to be judged.
type Request struct {
	Bucket, Key string
	// Principals are the names that statements may know the caller by.
	Principals []string
	// Values are the values of conditions by key: none, if the client did not say it.
	// Conditions on a key that is missing here cannot be judged, and are taken to hold.
	Values map[string][]string
}

// Demands are the statements of one bucket's policy that deny writes for how they
// are encrypted. The zero value has none.
type Demands []statement

// statement is one that denies. What is nil is not in the policy.
type statement struct {
	Effect       string
	Principal    json.RawMessage
	NotPrincipal json.RawMessage
	Action       words
	NotAction    words
	Resource     words
	NotResource  words
	Condition    map[string]map[string]words
}

// words is a JSON string, number or truth value, or a list of them.
type words []string

// UnmarshalJSON implements json.Unmarshaler.
func (w *words) UnmarshalJSON(data []byte) error {
	var list []any
	if err := json.Unmarshal(data, &list); err != nil {
		var one any
		if err := json.Unmarshal(data, &one); err != nil {
			return err
		}
		list = []any{one}
	}
	*w = make(words, 0, len(list))
	for _, v := range list {
		*w = append(*w, fmt.Sprint(v))
	}
	return nil
}

// Parse returns what a policy demands. An error says that it is none.
func Parse(document []byte) (Demands, error) {
	var policy struct{ Statement json.RawMessage }
	if err := json.Unmarshal(document, &policy); err != nil {
		return nil, fmt.Errorf("parse bucket policy: %w", err)
	}
	var all []statement
	if err := json.Unmarshal(policy.Statement, &all); err != nil {
		all = make([]statement, 1)
		if err := json.Unmarshal(policy.Statement, &all[0]); err != nil {
			return nil, fmt.Errorf("parse bucket policy: %w", err)
		}
	}
	var demands Demands
	for _, s := range all {
		if s.Effect == "Deny" && s.aboutWrites() && s.aboutEncryption() {
			demands = append(demands, s)
		}
	}
	return demands, nil
}

func (s *statement) aboutWrites() bool {
	const write = "s3:putobject"
	if s.NotAction != nil {
		return !s.NotAction.match(write, true)
	}
	return s.Action.match(write, true)
}

func (s *statement) aboutEncryption() bool {
	for _, conditions := range s.Condition {
		for key := range conditions {
			if encryptionKeys[strings.ToLower(key)] {
				return true
			}
		}
	}
	return false
}

// match says whether one of the patterns, with * and ?, fits.
func (w words) match(text string, anyCase bool) bool {
	for _, pattern := range w {
		if anyCase {
			pattern = strings.ToLower(pattern)
		}
		if like(pattern, text) {
			return true
		}
	}
	return false
}

// variable is a variable of a policy, such as ${aws:username}.
var variable = regexp.MustCompile(`\$\{[^}]*\}`)

// anyVariables returns the patterns with * for each variable, which may stand for
// anything here: a statement that denies rather denies too much. In a NotResource,
// as it is, a variable exempts nothing.
func (w words) anyVariables() words {
	loose := make(words, len(w))
	for i, pattern := range w {
		loose[i] = variable.ReplaceAllLiteralString(pattern, "*")
	}
	return loose
}

// Denies says whether a statement denies the write.
func (d Demands) Denies(q *Request) bool {
	for i := range d {
		if d[i].binds(q) && d[i].holds(q) {
			return true
		}
	}
	return false
}

// binds says whether the statement is about the object and the caller.
func (s *statement) binds(q *Request) bool {
	resource := "arn:aws:s3:::" + q.Bucket + "/" + q.Key
	if s.NotResource != nil && s.NotResource.match(resource, false) || s.NotResource == nil && !s.Resource.anyVariables().match(resource, false) {
		return false
	}
	if s.NotPrincipal != nil {
		return !names(s.NotPrincipal, q.Principals)
	}
	return s.Principal == nil || names(s.Principal, q.Principals)
}

// names says whether a principal of a policy is the caller: everybody, a user by
// name or ARN, or the account, which is MinIO and all its users.
func names(principal json.RawMessage, callers []string) bool {
	var list words
	var byKind map[string]words
	if err := json.Unmarshal(principal, &byKind); err == nil {
		list = byKind["AWS"]
	} else if err := json.Unmarshal(principal, &list); err != nil {
		return true
	}
	for _, pattern := range list {
		if _, user, ok := strings.Cut(pattern, ":user/"); ok {
			pattern = user
		}
		if pattern == "*" || strings.HasSuffix(pattern, ":root") {
			return true
		}
		for _, caller := range callers {
			if like(pattern, caller) {
				return true
			}
		}
	}
	return false
}
