package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A user of MinIO, configured at the proxy, who may list buckets and read nothing:
// sizes in its listings are looked up with the proxy's own credential.
const (
	listingUser     = "lists-only"
	listingPassword = "lists-only-secret"
)

// policyStatement is a statement of a MinIO policy with one resource.
type policyStatement struct {
	Effect   string
	Action   oneOrMore
	Resource string
}

type oneOrMore []string

// UnmarshalJSON implements json.Unmarshaler.
func (o *oneOrMore) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(o))
}

type policyDocument struct {
	Version   string
	Statement []policyStatement
}

// documentedPolicy is the policy that docs/configuration.md tells to give to the proxy.
func documentedPolicy(t *testing.T) (text string, policy policyDocument) {
	t.Helper()
	_, section, found := strings.Cut(readRepo(t, "docs/configuration.md"), "### The proxy's own rights at MinIO\n")
	block := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(section)
	if !found || block == nil {
		t.Fatal("docs/configuration.md has no policy")
	}
	if err := json.Unmarshal([]byte(block[1]), &policy); err != nil {
		t.Fatalf("%v in %s", err, block[1])
	}
	return block[1], policy
}

// edit returns the policy with each pair of action and resource as change says;
// an empty resource takes it away.
func (p policyDocument) edit(change func(action, resource string) string) policyDocument {
	edited := policyDocument{Version: p.Version}
	for _, s := range p.Statement {
		for _, action := range s.Action {
			if resource := change(action, s.Resource); resource != "" {
				edited.Statement = append(edited.Statement, policyStatement{s.Effect, oneOrMore{action}, resource})
			}
		}
	}
	return edited
}

// leastRights is a proxy whose own credential at MinIO has a policy.
type leastRights struct {
	*stack
	mc           *mcRunner
	config, name string
	root, lister *client
}

// startLeastRights starts a proxy on m with a system bucket, user and keys of its
// own, all called name.
func startLeastRights(t *testing.T, m *minioServer, name string, policy policyDocument) *leastRights {
	t.Helper()
	dir := t.TempDir()
	p := &leastRights{stack: &stack{dir: dir, minio: m}, name: name, config: filepath.Join(dir, "bucketseal.yml")}
	text, err := json.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, dir, "policy.json", []byte(strings.ReplaceAll(string(text), systemBucket, name)))
	p.mc = newMC(t, &stack{minio: m})
	secret := name + "-secret"
	p.mc.must(t, "admin", "policy", "create", "raw", name, file)
	p.mc.must(t, "admin", "user", "add", "raw", name, secret)
	p.mc.must(t, "admin", "policy", "attach", "raw", name, "--user", name)

	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	yaml := fmt.Sprintf(`address: %s
upstream:
  endpoint: %s
  credentials: {access_key: %s, secret_key: %s}
credentials:
- {access_key: %s, secret_key: %s}
- {access_key: %s, secret_key: %s}
system_bucket: %s
deployment: %s
small_object: {size: 64KiB}
data_dir: keys
`, addr, m.endpoint(), name, secret, rootUser, rootPassword, listingUser, listingPassword, name, name)
	if err := os.WriteFile(p.config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	process, err := startProcess("bucketseal", filepath.Join(dir, "bucketseal.log"), baseEnv(), program, "server", "--config", p.config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.kill)
	if err := process.waitReady(http.DefaultClient, "http://"+addr+"/minio/health/live"); err != nil {
		t.Fatal(err)
	}
	p.seal = &sealServer{process: process, addr: addr, upstream: m.endpoint()}
	p.root = newClient(p.seal.endpoint(), rootUser, rootPassword)
	p.lister = p.root.as(listingUser, listingPassword)
	return p
}

// wants sends a request and returns an error unless it has the status, and what
// its body must contain.
func wants(c *client, r request, status int, contains string) error {
	a, err := c.try(r)
	if err != nil {
		return err
	}
	if a.status != status || !strings.Contains(string(a.body), contains) {
		return fmt.Errorf("%s %s/%s?%s: %d %s, want %d with %.60q", r.method, r.bucket, r.key, r.query, a.status, a.code, status, contains)
	}
	return nil
}

// serviceStep is something that the proxy does with its own credential, or that
// depends on what it did.
type serviceStep struct {
	name string
	do   func(t *testing.T, p *leastRights) error
}

func serviceSteps() []serviceStep {
	data, part := testData(200_000, 7), partData(minPart, 8)
	const rule = `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>` +
		`<KMSMasterKeyID>` + defaultKey + `</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`
	etag := map[string]string{"If-Match": md5ETag(data)}
	return []serviceStep{
		{"start", func(t *testing.T, p *leastRights) error {
			for range 50 {
				if p.seal.isReady() {
					return wants(p.root, request{method: http.MethodPut, bucket: p.name + "-b"}, http.StatusOK, "")
				}
				time.Sleep(100 * time.Millisecond)
			}
			return errors.New("not ready")
		}},
		{"put and get", func(t *testing.T, p *leastRights) error {
			return errors.Join(
				wants(p.root, request{method: http.MethodPut, bucket: p.name + "-b", key: "k", body: data}, http.StatusOK, ""),
				wants(p.root, request{method: http.MethodPut, bucket: p.name + "-b", key: "small", body: data[:100]}, http.StatusOK, ""),
				wants(p.root, request{method: http.MethodGet, bucket: p.name + "-b", key: "k"}, http.StatusOK, string(data)))
		}},
		{"listing", func(t *testing.T, p *leastRights) error {
			return errors.Join(
				wants(p.root, request{method: http.MethodGet, bucket: p.name + "-b", query: "list-type=2"}, http.StatusOK, "<Size>200000</Size>"),
				wants(p.lister, request{method: http.MethodGet, bucket: p.name + "-b", query: "list-type=2"}, http.StatusOK, "<Size>200000</Size>"),
				wants(p.lister, request{method: http.MethodGet, bucket: p.name + "-b", query: "versions="}, http.StatusOK, "<Size>200000</Size>"))
		}},
		{"conditions", func(t *testing.T, p *leastRights) error {
			return errors.Join(
				wants(p.root, request{method: http.MethodPut, bucket: p.name + "-b", key: "k", body: data, header: etag}, http.StatusOK, ""),
				wants(p.root, request{method: http.MethodPut, bucket: p.name + "-b", key: "k", body: data, header: map[string]string{"If-None-Match": "*"}}, http.StatusPreconditionFailed, ""),
				wants(p.root, request{method: http.MethodPut, bucket: p.name + "-b", key: "absent", body: data, header: etag}, http.StatusNotFound, "NoSuchKey"))
		}},
		{"parts", func(t *testing.T, p *leastRights) error {
			a, err := p.root.try(request{method: http.MethodPost, bucket: p.name + "-b", key: "parts", query: "uploads="})
			if err != nil || a.status != http.StatusOK {
				return fmt.Errorf("create: %d %w", a.status, err)
			}
			u := uploadOf(t, p.root, p.name+"-b", "parts", a)
			for n := 1; n <= 2; n++ {
				a, err := p.root.try(u.partRequest(n, part))
				if err != nil || a.status != http.StatusOK {
					return fmt.Errorf("part: %d %w", a.status, err)
				}
				u.etags[n] = a.header.Get("Etag")
			}
			return errors.Join(
				wants(p.root, u.completeRequest(), http.StatusOK, "CompleteMultipartUploadResult"),
				wants(p.root, u.completeRequest(), http.StatusOK, "CompleteMultipartUploadResult"), // after a lost answer
				wants(p.root, request{method: http.MethodGet, bucket: p.name + "-b", key: "parts"}, http.StatusOK, string(part)+string(part)))
		}},
		{"rule", func(t *testing.T, p *leastRights) error {
			if err := errors.Join(
				wants(p.root, request{method: http.MethodPut, bucket: p.name + "-b", query: "encryption=", body: []byte(rule)}, http.StatusOK, ""),
				wants(p.root, request{method: http.MethodPut, bucket: p.name + "-b", key: "ruled", body: data}, http.StatusOK, ""),
				wants(p.root, request{
					method: http.MethodPut, bucket: p.name + "-b", key: "copied", header: map[string]string{"X-Amz-Copy-Source": "/" + p.name + "-b/k"},
				}, http.StatusOK, "CopyObjectResult")); err != nil {
				return err
			}
			for _, key := range []string{"ruled", "copied"} {
				if a, err := p.root.try(request{method: http.MethodHead, bucket: p.name + "-b", key: key}); err != nil || a.header.Get("X-Amz-Server-Side-Encryption") != "aws:kms" {
					return fmt.Errorf("%s is not encrypted as the rule says: %d %w", key, a.status, err)
				}
			}
			return nil
		}},
		{"bucket policy", func(_ *testing.T, p *leastRights) error {
			bucket := p.name + "-b"
			return errors.Join(
				wants(p.root, request{method: http.MethodPut, bucket: bucket, query: "policy=", body: demand(bucket, "Null "+keyMethod+" true")}, http.StatusNoContent, ""),
				wants(p.root, request{method: http.MethodPut, bucket: bucket, key: "plain", body: data}, http.StatusForbidden, "AccessDenied"),
				wants(p.root, request{method: http.MethodDelete, bucket: bucket, query: "policy="}, http.StatusNoContent, ""))
		}},
		{"learned users", func(t *testing.T, p *leastRights) error {
			user := p.name + "-learned"
			p.mc.must(t, "alias", "set", "seal", p.seal.endpoint(), rootUser, rootPassword)
			for _, args := range [][]string{
				{"admin", "user", "add", "seal", user, user + "-secret"}, {"admin", "policy", "attach", "seal", "readwrite", "--user", user},
			} {
				if _, all, err := p.mc.run(t, args...); err != nil {
					return errors.New(all)
				}
			}
			learned := p.root.as(user, user+"-secret")
			if err := wants(learned, request{method: http.MethodGet, bucket: p.name + "-b", key: "k"}, http.StatusOK, string(data)); err != nil {
				return err
			}
			if _, all, err := p.mc.run(t, "admin", "user", "rm", "seal", user); err != nil {
				return errors.New(all)
			}
			return wants(learned, request{method: http.MethodGet, bucket: p.name + "-b", key: "k"}, http.StatusForbidden, "InvalidAccessKeyId")
		}},
		{"sweep", func(t *testing.T, p *leastRights) error {
			// The manifest of what is gone is removed; what is read stays.
			if err := wants(p.root, request{method: http.MethodDelete, bucket: p.name + "-b", key: "k"}, http.StatusNoContent, ""); err != nil {
				return err
			}
			program, err := sealBinary()
			if err != nil {
				return err
			}
			var all string
			for range 2 { // the first one only notes what it finds
				time.Sleep(sweepHorizon)
				if _, all, err = run(t, baseEnv(), p.dir, program, "object", "sweep", "--force", "--older-than", "1s", "--config", p.config); err != nil {
					return fmt.Errorf("sweep: %w\n%s", err, all)
				}
			}
			if strings.Contains(all, "removed 0") {
				return fmt.Errorf("sweep: %s", all)
			}
			return wants(p.root, request{method: http.MethodGet, bucket: p.name + "-b", key: "parts"}, http.StatusOK, string(part)+string(part))
		}},
	}
}

// firstFailure runs the steps, or those that are named, until one fails, and returns
// that one's name.
func (p *leastRights) firstFailure(t *testing.T, only ...string) (string, error) {
	t.Helper()
	for _, step := range serviceSteps() {
		if only != nil && !slices.Contains(only, step.name) {
			continue
		}
		if err := step.do(t, p); err != nil {
			return step.name, err
		}
	}
	return "", nil
}

// The documented policy is enough, and each right in it is needed: what takes one
// away shows at the client or stops the proxy from becoming ready.
func TestDocumentedPolicyIsWhatTheProxyNeeds(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	_, documented := documentedPolicy(t)
	m, err := startMinIO(t.TempDir(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	m.dumpOnFailure(t)
	mc := newMC(t, &stack{minio: m})
	mc.must(t, "admin", "policy", "create", "raw", "lists", writeFile(t, t.TempDir(), "p.json",
		[]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::*"]}]}`)))
	mc.must(t, "admin", "user", "add", "raw", listingUser, listingPassword)
	mc.must(t, "admin", "policy", "attach", "raw", "lists", "--user", listingUser)

	p := startLeastRights(t, m, "least-exact", documented)
	p.seal.dumpOnFailure(t)
	if step, err := p.firstFailure(t); err != nil {
		t.Errorf("%s: %v", step, err)
	}
	log := regexp.MustCompile("(?m)^.*the bucket's policy demands.*$").ReplaceAllString(p.seal.logSince(0), "") // of a client
	if strings.Contains(log, "Access Denied") || strings.Contains(log, "AccessDenied") {
		t.Errorf("MinIO refuses the proxy something:\n%s", log)
	}

	// A bucket that MinIO leaves out of its list has no rule. s3:ListBucket on all buckets
	// would put all into the list too; where it names single ones, that fails.
	for name, want := range map[string]string{"list-all": "", "list-some": "rule"} {
		p := startLeastRights(t, m, "least-"+name, documented.edit(func(action, resource string) string {
			switch {
			case action == "s3:ListBucket":
				return "arn:aws:s3:::" + systemBucket
			case action == "s3:ListAllMyBuckets" && want != "":
				return ""
			}
			return resource
		}))
		if step, err := p.firstFailure(t, "start", "put and get", "rule"); step != want {
			t.Errorf("%s: the first failure is %q (%v), want %q", name, step, err, want)
		}
	}
	tried := map[string]bool{"s3:ListAllMyBuckets": true}
	for _, test := range []struct{ name, action, instead, step string }{
		{"create", "s3:CreateBucket", "", "start"},
		{"versioning", "s3:PutBucketVersioning", "", "start"},
		{"write", "s3:PutObject", "", "start"},
		{"delete", "s3:DeleteObject", "", "sweep"},
		{"read", "s3:GetObject", "", "start"},
		{"read-others", "s3:GetObject", "arn:aws:s3:::" + systemBucket + "/*", "listing"},
		{"list", "s3:ListBucket", "", "start"},
		{"list-others", "s3:ListBucket", "arn:aws:s3:::" + systemBucket, "listing"},
		{"parts", "s3:ListMultipartUploadParts", "", "parts"},
		{"policies", "s3:GetBucketPolicy", "", "bucket policy"},
	} {
		tried[test.action] = true
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // most wait for a proxy that does not become ready
			p := startLeastRights(t, m, "least-no-"+test.name, documented.edit(func(action, resource string) string {
				if action == test.action {
					return test.instead
				}
				return resource
			}))
			step, err := p.firstFailure(t)
			if step != test.step {
				t.Errorf("without %s the first failure is %q (%v), want %q\n%s", test.action, step, err, test.step, p.seal.logSince(0))
			}
			if step == "listing" && !strings.Contains(err.Error(), "503 ServiceUnavailable") && !strings.Contains(err.Error(), "403 AccessDenied") {
				t.Errorf("a listing that is not refused: %v", err)
			}
			log := p.seal.logSince(0)
			if !slices.ContainsFunc([]string{"Access Denied", "AccessDenied", "may not read an object"}, func(s string) bool { return strings.Contains(log, s) }) {
				t.Errorf("without %s the log names no refusal:\n%s", test.action, log)
			}
		})
	}
	for _, s := range documented.Statement {
		for _, action := range s.Action {
			if !tried[action] {
				t.Errorf("nothing shows that %s is needed", action)
			}
		}
	}
}
