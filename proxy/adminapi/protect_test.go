package adminapi_test

import (
	"testing"
)

// adminChange is one request that changes an access key at MinIO; its content is
// sealed under the caller's secret unless it is plain.
type adminChange struct {
	method, target, content string
	plain                   bool
}

func (c adminChange) body(t *testing.T, secret string) []byte {
	t.Helper()
	switch {
	case c.content == "":
		return nil
	case c.plain:
		return []byte(c.content)
	}
	return sealedFor(t, secret, c.content)
}

// The stage's own access key at MinIO is testRoot's.
func TestNobodyChangesTheProxysOwnAccessKey(t *testing.T) {
	t.Parallel()
	const own = testRoot
	stage := newAdminStage(t, answering(200, ""))
	for name, c := range map[string]adminChange{
		"another secret":           {"PUT", "add-user?accessKey=" + own, `{"secretKey":"new-secret-123","status":"enabled"}`, false},
		"the secret that it has":   {"PUT", "add-user?accessKey=" + own, `{"secretKey":"` + testRootSecret + `","status":"enabled"}`, false},
		"disabled by addition":     {"PUT", "add-user?accessKey=" + own, `{"secretKey":"` + testRootSecret + `","status":"disabled"}`, false},
		"removal":                  {"DELETE", "remove-user?accessKey=" + own, "", false},
		"disabled":                 {"PUT", "set-user-status?accessKey=" + own + "&status=disabled", "", false},
		"enabled":                  {"PUT", "set-user-status?accessKey=" + own + "&status=enabled", "", false},
		"an account of its name":   {"PUT", "add-service-account", `{"accessKey":"` + own + `","secretKey":"new-secret-123"}`, false},
		"an account of its rights": {"PUT", "add-service-account", `{"targetUser":"` + own + `"}`, false},
		"an account's secret":      {"POST", "update-service-account?accessKey=" + own, `{"newSecretKey":"new-secret-123"}`, false},
		"an account's policy":      {"POST", "update-service-account?accessKey=" + own, `{"newPolicy":{}}`, false},
		"an account's status":      {"POST", "update-service-account?accessKey=" + own, `{"newStatus":"off"}`, false},
		"an account's end":         {"POST", "update-service-account?accessKey=" + own, `{"newExpiration":"2030-01-01T00:00:00Z"}`, false},
		"an account's removal":     {"DELETE", "delete-service-account?accessKey=" + own, "", false},
		"a policy":                 {"POST", "idp/builtin/policy/attach", `{"policies":["readonly"],"user":"` + own + `"}`, false},
		"a policy taken away":      {"POST", "idp/builtin/policy/detach", `{"policies":["readonly"],"user":"` + own + `"}`, false},
		"a policy set":             {"PUT", "set-user-or-group-policy?policyName=readonly&userOrGroup=" + own + "&isGroup=false", "", false},
		"a member":                 {"PUT", "update-group-members", `{"group":"g","members":["one","` + own + `"],"isRemove":false}`, true},
		"a member taken away":      {"PUT", "update-group-members", `{"group":"g","members":["` + own + `"],"isRemove":true}`, true},
	} {
		w := stage.ask(testOther, c.method, "/minio/admin/v3/"+c.target, c.body(t, testOtherSecret))
		if w.Code != 403 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
			continue
		}
		wantAdminError(t, w, 403, "AccessDenied")
	}
	wantUpstream(t, stage)
}

func TestConfiguredAccessKeysStayAsTheyAreConfigured(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(200, ""))
	for name, c := range map[string]adminChange{
		"disabled by addition": {"PUT", "add-user?accessKey=" + testOther, `{"secretKey":"` + testOtherSecret + `","status":"disabled"}`, false},
		"no status":            {"PUT", "add-user?accessKey=" + testOther, `{"secretKey":"` + testOtherSecret + `"}`, false},
		"no secret":            {"PUT", "add-user?accessKey=" + testOther, `{"status":"enabled"}`, false},
		"removal":              {"DELETE", "remove-user?accessKey=" + testOther, "", false},
		"disabled":             {"PUT", "set-user-status?accessKey=" + testOther + "&status=disabled", "", false},
		"an account's status":  {"POST", "update-service-account?accessKey=" + testOther, `{"newStatus":"off"}`, false},
		"an account's end":     {"POST", "update-service-account?accessKey=" + testOther, `{"newExpiration":"2030-01-01T00:00:00Z"}`, false},
		"an account's removal": {"DELETE", "delete-service-account?accessKey=" + testOther, "", false},
	} {
		w := stage.ask(testRoot, c.method, "/minio/admin/v3/"+c.target, c.body(t, testRootSecret))
		if w.Code != 403 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
			continue
		}
		wantAdminError(t, w, 403, "AccessDenied")
	}
	wantUpstream(t, stage)
	for name, c := range map[string]adminChange{
		"enabled":             {"PUT", "set-user-status?accessKey=" + testOther + "&status=enabled", "", false},
		"a policy":            {"POST", "idp/builtin/policy/attach", `{"policies":["readonly"],"user":"` + testOther + `"}`, false},
		"a group's policy":    {"POST", "idp/builtin/policy/detach", `{"policies":["readonly"],"group":"` + testRoot + `"}`, false},
		"a policy set":        {"PUT", "set-user-or-group-policy?policyName=readonly&userOrGroup=" + testRoot + "&isGroup=true", "", false},
		"a member":            {"PUT", "update-group-members", `{"group":"g","members":["` + testOther + `"]}`, true},
		"a group that is new": {"PUT", "update-group-members", `{"group":"g"}`, true},
		"an account's policy": {"POST", "update-service-account?accessKey=" + testOther, `{"newPolicy":{},"newStatus":"on"}`, false},
	} {
		if w := stage.ask(testRoot, c.method, "/minio/admin/v3/"+c.target, c.body(t, testRootSecret)); w.Code != 200 {
			t.Errorf("%s, which is MinIO's to judge: %d %s", name, w.Code, w.Body)
		}
	}
}
