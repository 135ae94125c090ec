package integration

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Whoever asks the audit log what was done to a user, group, policy or rule finds it.
func TestAuditLinesNameWhomAnAdministratorMeans(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s, l, yaml := newAudited(t, t.TempDir(), "  required: true\n")
	mc := newMC(t, s)
	bucket := newBucket(t, s.client())
	mc.must(t, "admin", "user", "add", "seal", "ward-nurse", "nurses-secret-text")
	mc.must(t, "admin", "policy", "attach", "seal", "readonly", "--user", "ward-nurse")
	mc.must(t, "admin", "group", "add", "seal", "ward", "ward-nurse")
	mc.must(t, "admin", "user", "svcacct", "add", "seal", "ward-nurse", "--access-key", "nurses-key", "--secret-key", "keys-secret-text")
	mc.must(t, "admin", "user", "disable", "seal", "ward-nurse")
	mc.must(t, "admin", "kms", "key", "create", "seal", "ward-key")
	mc.must(t, "encrypt", "set", "sse-kms", "ward-key", "seal/"+bucket)
	mc.must(t, "admin", "user", "rm", "seal", "ward-nurse")

	named := func(op, kind string) (all []url.Values) {
		for _, line := range l.lines(t) {
			if line.Op == op && line.Kind == kind && line.Target != "" {
				values, err := url.ParseQuery(line.Target)
				if err != nil {
					t.Errorf("%s: %v", line.Target, err)
				}
				all = append(all, values)
			}
		}
		return all
	}
	for op, want := range map[string]url.Values{
		"AddUser": {"accessKey": {"ward-nurse"}}, "RemoveUser": {"accessKey": {"ward-nurse"}},
		"SetUserStatus":      {"accessKey": {"ward-nurse"}, "status": {"disabled"}},
		"AttachPolicy":       {"user": {"ward-nurse"}, "policies": {"readonly"}},
		"UpdateGroupMembers": {"group": {"ward"}, "members": {"ward-nurse"}, "isRemove": {"false"}},
		"AddServiceAccount":  {"accessKey": {"nurses-key"}, "targetUser": {"ward-nurse"}},
		"KMSCreateKey":       {"key-id": {"ward-key"}}, "PutBucketEncryption": {"algorithm": {"aws:kms"}, "key": {"ward-key"}},
	} {
		for _, kind := range []string{"intent", "request"} {
			if got := named(op, kind); len(got) == 0 || got[len(got)-1].Encode() != want.Encode() {
				t.Errorf("%s: the lines of kind %s name %v, want %v", op, kind, got, want)
			}
		}
	}
	found := mustSeal(t, nil, "", "audit", "search", "--config", yaml, "--target", "ward-n*", "--kind", "request")
	if !strings.Contains(found, `"AddUser"`) || !strings.Contains(found, `"AttachPolicy"`) || strings.Contains(found, `"PutBucketEncryption"`) {
		t.Errorf("audit search: %s", found)
	}
	for _, secret := range []string{"nurses-secret-text", "keys-secret-text"} {
		for _, line := range l.lines(t) {
			if strings.Contains(line.Target, secret) {
				t.Errorf("a line has a secret: %+v", line)
			}
		}
	}
}

// What a form uploads is named before it is stored.
func TestAuditLinesOfForms(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s, l, _ := newAudited(t, t.TempDir(), "  required: true\n")
	c := s.client()
	bucket := newBucket(t, c)
	form := postForm{fields: [][2]string{{"key", "uploads/by-form"}}, file: []byte("data")}
	a := c.anonymous().do(t, form.request(c, bucket)).wantStatus(t, http.StatusNoContent)
	if intents := l.objectLines(t, a, "intent"); intents[bucket+"/uploads/by-form"].AccessKey != rootUser {
		t.Errorf("the lines are %+v", l.of(t, a))
	}
}
