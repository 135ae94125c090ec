package bucketpolicy

import "testing"

const denyPlain = `"Effect":"Deny","Action":"s3:PutObject","Resource":"arn:aws:s3:::b/*","Condition":{"Null":{"s3:x-amz-server-side-encryption":"true"}}`

func policyOf(statement string) string {
	return `{"Version":"2012-10-17","Statement":[{` + statement + `}]}`
}

func TestStatementsAreAboutWhatTheyName(t *testing.T) {
	t.Parallel()
	condition := `,"Condition":{"Null":{"S3:X-Amz-Server-Side-Encryption":true}}`
	for _, tt := range []struct {
		statement string
		denies    bool
	}{
		{`"Principal":"*",` + denyPlain, true},
		{`"Principal":{"AWS":"*"},` + denyPlain, true},
		{`"Principal":{"AWS":["arn:aws:iam::1:user/bob","arn:aws:iam:::user/alice"]},` + denyPlain, true},
		{`"Principal":{"AWS":"arn:aws:iam::123456789012:root"},` + denyPlain, true},
		{`"Principal":{"AWS":"arn:aws:iam::1:user/bob"},` + denyPlain, false},
		{`"Principal":{"AWS":"alice"},` + denyPlain, true},
		{`"NotPrincipal":{"AWS":"alice"},` + denyPlain, false},
		{`"NotPrincipal":{"AWS":"bob"},` + denyPlain, true},
		{`"Principal":"*","Effect":"Deny","Action":["s3:Get*","s3:Put*"],"Resource":["arn:aws:s3:::c/*","arn:aws:s3:::?/k*"]` + condition, true},
		{`"Principal":"*","Effect":"Deny","Action":"*","Resource":"*"` + condition, true},
		{`"Principal":"*","Effect":"Deny","Action":"s3:GetObject","Resource":"*"` + condition, false},
		{`"Principal":"*","Effect":"Deny","NotAction":"s3:GetObject","Resource":"*"` + condition, true},
		{`"Principal":"*","Effect":"Deny","NotAction":"s3:*","Resource":"*"` + condition, false},
		{`"Principal":"*","Effect":"Deny","Action":"s3:PutObject","NotResource":"arn:aws:s3:::b/k"` + condition, false},
		{`"Principal":"*","Effect":"Deny","Action":"s3:PutObject","Resource":"arn:aws:s3:::b/other"` + condition, false},
		{`"Principal":"*","Effect":"Deny","Action":"s3:PutObject","Resource":"arn:aws:s3:::b/${aws:username}"` + condition, true},
		{`"Principal":"*","Effect":"Deny","Action":"s3:PutObject","Resource":"arn:aws:s3:::b/${aws:username}/*"` + condition, false},
		{`"Principal":"*","Effect":"Deny","Action":"s3:PutObject","NotResource":"arn:aws:s3:::b/${aws:username}"` + condition, true},
		{`"Principal":"*","Effect":"Allow","Action":"s3:PutObject","Resource":"*"` + condition, false},
		{`"Principal":"*","Effect":"Deny","Action":"s3:PutObject","Resource":"*"`, false},
		{`"Principal":"*","Effect":"Deny","Action":"s3:PutObject","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}`, false},
	} {
		for _, document := range []string{policyOf(tt.statement), `{"Statement":{` + tt.statement + `}}`} {
			demands, err := Parse([]byte(document))
			if err != nil {
				t.Errorf("%s: %v", document, err)
			}
			q := &Request{Bucket: "b", Key: "key", Principals: []string{"alice", ""}, Values: map[string][]string{Method: nil, SecureTransport: {"false"}}}
			if q.Key = "k"; demands.Denies(q) != tt.denies {
				t.Errorf("%s: denies %v", tt.statement, !tt.denies)
			}
		}
	}
}

func TestConditionsHoldAsOnAWS(t *testing.T) {
	t.Parallel()
	none, one := []string(nil), []string{"AES256"}
	for _, tt := range []struct {
		operator string
		wanted   words
		values   []string
		holds    bool
	}{
		{"Null", words{"true"}, none, true},
		{"Null", words{"true"}, one, false},
		{"Null", words{"false"}, one, true},
		{"Null", words{"false"}, none, false},
		{"StringEquals", words{"aws:kms", "AES256"}, one, true},
		{"StringEquals", words{"aes256"}, one, false},
		{"StringEquals", words{"AES256"}, none, false},
		{"StringEqualsIfExists", words{"AES256"}, none, true},
		{"StringNotEquals", words{"AES256"}, one, false},
		{"StringNotEquals", words{"aws:kms"}, one, true},
		{"StringNotEquals", words{"AES256"}, none, true},
		{"StringNotEqualsIfExists", words{"AES256"}, none, true},
		{"StringEqualsIgnoreCase", words{"aes256"}, one, true},
		{"StringNotEqualsIgnoreCase", words{"aes256"}, one, false},
		{"StringLike", words{"AES*"}, one, true},
		{"StringNotLike", words{"AES?56"}, one, false},
		{"StringNotLike", words{"aws:*"}, none, true},
		{"ForAnyValue:StringEquals", words{"AES256"}, one, true},
		{"ForAllValues:StringEquals", words{"aws:kms"}, one, false},
		{"ForAllValues:StringEquals", words{"aws:kms"}, none, true},
		{"ForAllValues:StringNotEquals", words{"AES256"}, one, false},
		{"ForAllValues:StringNotEquals", words{"AES256"}, none, true},
		{"ForAllValues:StringEquals", words{"key"}, []string{"key", "arn:aws:kms:key"}, true},
		{"StringEquals", words{"arn:aws:kms:key"}, []string{"key", "arn:aws:kms:key"}, true},
		{"StringNotEquals", words{"key"}, []string{"key", "arn:aws:kms:key"}, false},
		{"Bool", words{"false"}, []string{"false"}, true},
		{"Bool", words{"true"}, []string{"false"}, false},
		{"IpAddress", words{"192.0.2.0/24"}, []string{"192.0.2.9"}, true},
		{"IpAddress", words{"192.0.2.9"}, []string{"::ffff:192.0.2.9"}, true},
		{"NotIpAddress", words{"192.0.2.0/24"}, []string{"192.0.2.9"}, false},
		{"NotIpAddress", words{"2001:db8::/32"}, []string{"192.0.2.9"}, true},
		{"IpAddress", words{"none"}, []string{"192.0.2.9"}, false},
		// What cannot be judged is taken to hold.
		{"NumericLessThan", words{"5"}, one, true},
		{"StringEquals", words{"${aws:username}"}, one, true},
	} {
		if got := judge(tt.operator, tt.values, tt.wanted); got != tt.holds {
			t.Errorf("%s %v of %v: %v", tt.operator, tt.wanted, tt.values, got)
		}
	}
}

func TestConditionsOfOneStatementAreAllNeeded(t *testing.T) {
	t.Parallel()
	demands, err := Parse([]byte(policyOf(`"Principal":"*","Effect":"Deny","Action":"s3:PutObject","Resource":"*","Condition":{` +
		`"Null":{"s3:x-amz-server-side-encryption":"true","s3:x-amz-acl":"false"},"Bool":{"aws:SecureTransport":"false"}}`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		values map[string][]string
		denies bool
	}{
		{map[string][]string{Method: nil, SecureTransport: {"false"}}, true}, // nobody knows of the ACL
		{map[string][]string{Method: nil, SecureTransport: {"true"}}, false},
		{map[string][]string{Method: {"AES256"}, SecureTransport: {"false"}}, false},
	} {
		if demands.Denies(&Request{Bucket: "b", Key: "k", Values: tt.values}) != tt.denies {
			t.Errorf("%v: denies %v", tt.values, !tt.denies)
		}
	}
}

func TestWhatIsNoPolicyIsAnError(t *testing.T) {
	t.Parallel()
	for _, document := range []string{"", "[]", "<xml/>", `{}`, `{"Statement":5}`, `{"Statement":[{"Action":{}}]}`} {
		if demands, err := Parse([]byte(document)); err == nil && len(demands) > 0 {
			t.Errorf("%s: no error", document)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(policyOf(`"Principal":"*",` + denyPlain)))
	f.Add([]byte(`{"Statement":{"Effect":"Deny","Action":[1,null],"NotPrincipal":{"AWS":[true]}}}`))
	f.Fuzz(func(_ *testing.T, document []byte) {
		if demands, err := Parse(document); err == nil {
			demands.Denies(&Request{Bucket: "b", Key: "k", Values: map[string][]string{Method: nil}})
		}
	})
}
