package sse

import "testing"

func TestKeyName(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"": "", "k": "k", "a/k": "a/k", "arn:aws:kms:k": "k", "arn:aws:kms:": "", "arn:aws:kms:eu-1:123:key/k": "k", "arn:aws:kms:alias/k": "k",
	} {
		if got := KeyName(id); got != want {
			t.Errorf("%q names the key %q, want %q", id, got, want)
		}
	}
}
