package s3api

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// mappedElsewhere are the sentinels that have no row in errorTable, and why.
var mappedElsewhere = map[string]string{
	"console.ErrNoScan":          "pages of the console say so",
	"console.ErrNoAudit":         "the table in console/errors.go has it: it reaches no client of S3",
	"proxy.ErrNothingToReset":    "only the command line gets it",
	"maintenance.ErrNothingLost": "only the command line gets it",
	"usage.ErrNoScan":            "only the command line gets it",
	"usage.ErrMalformed":         "only the command line gets it",
	"usage.ErrBusy":              "only the command line gets it",
	"usage.ErrOvertaken":         "only the command line gets it",
	"sealed.ErrChanged":          "vault.ErrChanged is the same",
	"sealed.ErrKeyGone":          "vault.ErrKeyGone is the same",
	"listing.ErrServiceRights":   "vault.ErrServiceRights is the same",
	"keyring.ErrAccess":          "vault.ErrKeyAccess is the same",
	"keyring.ErrNoCustomerKey":   "vault.ErrNoCustomerKey is the same",
	"keyring.ErrKeyName":         "vault.ErrKeyName is the same",
	"keyring.ErrOtherS3Key":      "vault.ErrOtherS3Key is the same",
	"keyring.ErrUnconfirmed":     "vault.ErrUnconfirmed is the same",
	"manifest.ErrNoSuchUpload":   "vault.ErrNoSuchUpload is the same",
	"manifest.ErrMissing":        "vault.ErrNoManifest is the same",
	"manifest.ErrUncertain":      "vault.ErrUncertain is the same",
	"sse.ErrMethod":              "writeHeaderError",
	"sse.ErrIncompatible":        "writeHeaderError",
	"sse.ErrCustomerAlgorithm":   "writeHeaderError, readHeaderError",
	"sse.ErrCustomerKey":         "writeHeaderError, readHeaderError",
	"sse.ErrCustomerKeyMissing":  "writeHeaderError, readHeaderError",
	"sse.ErrCustomerMD5Missing":  "writeHeaderError, readHeaderError",
	"sse.ErrCustomerMD5Mismatch": "writeHeaderError, readHeaderError",
	"sse.ErrHeaderContext":       "writeHeaderError",
	"sse.ErrBucketKeyValue":      "writeHeaderError",

	"bucketconfig.ErrMalformedXML": "comes as *InvalidRuleError",
	"register.ErrNotModified":      "what a Store tells package register",
	"register.ErrNotFound":         "what a Store tells package register",
	"register.ErrConflict":         "what a Store tells package register",

	"bucketconfig.ErrNotModified": "what a Backend tells package bucketconfig",
	"bucketconfig.ErrNotFound":    "what a Backend tells package bucketconfig",
	"bucketconfig.ErrConflict":    "what a Backend tells package bucketconfig",
	"bucketconfig.ErrIndexFull":   "InternalError: only an operator can do something about it",
	"system.ErrNotFound":          "of system objects: RulesBackend and package manifest translate it",
	"system.ErrNotModified":       "of system objects: RulesBackend translates it",
	"storage.ErrPrecondition":     "what an *Error means",
	"storage.ErrNotFound":         "what an *Error means",
	"storage.ErrNoSuchBucket":     "what an *Error means",
	"storage.ErrNoSuchUpload":     "what an *Error means",
	"storage.ErrInvalidPart":      "what an *Error means",
	"storage.ErrRange":            "what an *Error means",
	"storage.ErrForbidden":        "what an *Error means",
	"storage.ErrLocked":           "what an *Error means",
	"storage.ErrOwnCredential":    "system.ErrOwnCredential is the same",
	"storage.ErrOwnRights":        "system.ErrOwnRights is the same",
	"inventory.ErrRights":         "only the command line gets it",
	"keyring.ErrNotRewrapped":     "only the command line gets it",
	"keyring.ErrWithheld":         "vault.ErrWithheld is the same",
	"rekey.ErrStale":              "vault.ErrRekeyRival is the same",
	"rekey.ErrFull":               "InternalError: only an operator can do something about it",
	"manifest.ErrNoWrap":          "the KMS key's own error counts",
	"offline.ErrPlain":            "only the command line gets it",
	"offline.ErrCustomerKey":      "only the command line gets it",
	"offline.ErrWrite":            "only the command line gets it",
	"offline.ErrExists":           "only the command line gets it",
	"offline.ErrSkipped":          "only the command line gets it",
	"takeover.ErrNoBucket":        "only the command line gets it",
	"takeover.ErrEncryptedTwice":  "only the command line gets it",
	"verify.ErrNoBucket":          "only the command line gets it",
	"system.ErrConflict":          "of system objects: RulesBackend translates it",
	"system.ErrUnknownLayout":     "only re-wraps get it, and report it",
	"progress.ErrMalformed":       "a re-wrap begins at the start then, and says so in the log",
	"progress.ErrTooLong":         "a re-wrap goes on without a cursor then",
}

// unexportedToo are the packages whose own sentinels clients may get.
var unexportedToo = map[string]bool{"proxy": true, "s3api": true, "intake": true, "route": true, "adminapi": true}

// sentinelsIn returns the package-level variables of a package's source that
// hold an error of errors.New, as PACKAGE.NAME: of packages that answer no client the exported ones.
func sentinelsIn(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	eachSource(t, dir, func(file *ast.File) {
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.VAR {
				continue
			}
			for _, spec := range group.Specs {
				v := spec.(*ast.ValueSpec)
				for i, value := range v.Values {
					if !v.Names[i].IsExported() && !unexportedToo[file.Name.Name] {
						continue
					}
					if call, ok := value.(*ast.CallExpr); ok && exprName(call.Fun) == "errors.New" {
						names = append(names, file.Name.Name+"."+v.Names[i].Name)
					}
				}
			}
		}
	})
	return names
}

func eachSource(t *testing.T, dir string, f func(*ast.File)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		f(file)
	}
}

// exprName writes an identifier or a selector.
func exprName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return exprName(e.X) + "." + e.Sel.Name
	}
	return ""
}

// namesInErrorTable returns the first element of every row of a package's table, as it is
// written, and what it stands for if it is another name of another package's sentinel.
func namesInErrorTable(t *testing.T, dir string) (names map[string]bool, rows int) {
	t.Helper()
	names, aliases := make(map[string]bool), make(map[string]string)
	eachSource(t, dir, func(file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 {
				return true
			}
			own := file.Name.Name + "."
			if other, ok := spec.Values[0].(*ast.SelectorExpr); ok {
				aliases[own+spec.Names[0].Name] = exprName(other)
			}
			if spec.Names[0].Name != "errorTable" {
				return true
			}
			for _, row := range spec.Values[0].(*ast.CompositeLit).Elts {
				name := exprName(row.(*ast.CompositeLit).Elts[0])
				if !strings.Contains(name, ".") {
					name = own + name
				}
				names[name] = true
				rows++
			}
			return false
		})
	})
	if len(names) != rows || rows == 0 {
		t.Fatalf("read %d names from the source of a table of %d rows in %s", len(names), rows, dir)
	}
	for alias, name := range aliases {
		if names[alias] {
			names[name] = true
		}
	}
	return names, rows
}

// walkedForSentinels are the directories of all packages whose errors may reach a client.
func walkedForSentinels(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("../*")
	if err != nil {
		t.Fatal(err)
	}
	dirs = slices.DeleteFunc(dirs, func(dir string) bool {
		return dir == "../sigv4" || // TestEverySignatureErrorHasItsOwnRow
			dir == "../config" // ends before there is a client
	})
	return append(dirs, "..", "../../sse", "../../kms", "../../bucketconfig", "../../register")
}

func TestEverySentinelHasAnAnswer(t *testing.T) {
	t.Parallel()
	mapped, rows := namesInErrorTable(t, ".")
	if rows != len(errorTable) {
		t.Fatalf("read %d rows from the source of a table of %d", rows, len(errorTable))
	}
	admins, _ := namesInErrorTable(t, "../adminapi") // whose others are described here
	seen := make(map[string]bool)
	for _, dir := range walkedForSentinels(t) {
		for _, name := range sentinelsIn(t, dir) {
			seen[name] = true
			mapped := mapped[name]
			if strings.HasPrefix(name, "adminapi.") || strings.HasPrefix(name, "adminpayload.") || strings.HasPrefix(name, "batchjobs.") {
				mapped = admins[name]
			}
			switch why := mappedElsewhere[name]; {
			case mapped && why != "":
				t.Errorf("%s has a row in errorTable, and a reason for having none: %s", name, why)
			case !mapped && why == "":
				t.Errorf("%s has no row in errorTable, so clients get an InternalError; add one, or say here why it needs none", name)
			}
		}
	}
	for _, name := range []string{ // one of each package that has some
		"proxy.ErrNothingToReset", "s3api.errDotSegment", "intake.ErrBusy", "route.ErrUnknown", "adminapi.ErrAccessDenied", "adminpayload.ErrMalformed", "edge.ErrBusy",
		"upstream.ErrUnfit", "storage.ErrLied", "objectname.ErrKey", "keyring.ErrAccess", "system.ErrTampered", "identity.ErrUnknown", "manifest.ErrMissing",
		"form.ErrMalformed", "sse.ErrRecord", "kms.ErrDecrypt", "bucketconfig.ErrUnavailable",
	} {
		if !seen[name] {
			t.Errorf("%s was not found", name)
		}
	}
	for name := range mappedElsewhere {
		if !seen[name] {
			t.Errorf("%s does not exist any more", name)
		}
	}
}

func TestEverySentinelGetsItsOwnRow(t *testing.T) {
	t.Parallel()
	for i := range errorTable {
		row := &errorTable[i]
		if got := Describe(fmt.Errorf("doing something: %w", row.err)); got != row.is {
			t.Errorf("%v is answered by the row of another: %v", row.err, got)
		}
	}
}

func TestNoMemoryForABodyIsAReasonToTryAgain(t *testing.T) {
	t.Parallel()
	for _, err := range []error{intake.ErrBusy, plaintext.ErrBusy, edge.ErrBusy, identity.ErrBusy} {
		if got := Describe(fmt.Errorf("read document: %w", err)); got.Status != http.StatusServiceUnavailable || got.Code != "SlowDown" {
			t.Errorf("%v is answered %v", err, got)
		}
	}
}

func TestEverySignatureErrorHasItsOwnRow(t *testing.T) {
	t.Parallel()
	rows := make(map[error]*intake.Error)
	for i := range signatureErrors {
		rows[signatureErrors[i].err] = signatureErrors[i].is
	}
	for _, sentinel := range sigv4.Sentinels() {
		want := rows[sentinel]
		if want == nil {
			t.Errorf("%v has no row in signatureErrors", sentinel)
		} else if got := Describe(fmt.Errorf("verify: %w", sentinel)); got != want {
			t.Errorf("%v is answered %v", sentinel, got)
		}
	}
	if len(rows) != len(sigv4.Sentinels()) {
		t.Errorf("%d rows for %d sentinels", len(rows), len(sigv4.Sentinels()))
	}
	for _, name := range sentinelsIn(t, "../sigv4") {
		if !strings.HasPrefix(name, "sigv4.Err") {
			t.Errorf("%s is not one of sigv4.Sentinels()", name)
		}
	}
	if n := len(sentinelsIn(t, "../sigv4")); n != len(sigv4.Sentinels()) {
		t.Errorf("sigv4 has %d sentinels, of which Sentinels() tells %d", n, len(sigv4.Sentinels()))
	}
}

func TestEveryAnswerIsLegal(t *testing.T) {
	t.Parallel()
	code := regexp.MustCompile(`^(kms:|KMS\.)?[A-Za-z0-9]+$`)
	check := func(what error, e *intake.Error) {
		switch {
		case e.Status == http.StatusNotModified:
			if e.Message != "" {
				t.Errorf("%v: a 304 has no body, so no message", what)
			}
		case e.Status < 400 || e.Status > 599 || http.StatusText(e.Status) == "" && e.Status != 499:
			t.Errorf("%v: status %d", what, e.Status)
		case e.Message == "":
			t.Errorf("%v: no message", what)
		}
		if !code.MatchString(e.Code) {
			t.Errorf("%v: code %q", what, e.Code)
		}
	}
	for i := range errorTable {
		check(errorTable[i].err, errorTable[i].is)
	}
	for i := range signatureErrors {
		check(signatureErrors[i].err, signatureErrors[i].is)
	}
	check(errors.New("internal"), internalError)
}

func TestInternalDetailStaysInside(t *testing.T) {
	t.Parallel()
	const detail = "10.0.0.7:7373 connection refused"
	for _, err := range []error{
		errors.New(detail),
		fmt.Errorf("%s: %w", detail, storage.ErrUnreachable),
		fmt.Errorf("%s: %w", detail, sse.ErrTampered),
		fmt.Errorf("%w (%w)", system.ErrNotReady, errors.New(detail)),
		fmt.Errorf("%w (%w)", system.ErrNotReady, &storage.Error{Status: 403, Code: "AccessDenied", Message: detail}),
		keyring.Tampered(fmt.Errorf("%w (%s)", sse.ErrWrongKey, detail)),
	} {
		got := Describe(err)
		if strings.Contains(got.Code+got.Message, "10.0.0.7") {
			t.Errorf("the client is told %v", got)
		}
	}
	if got := Describe(errors.New(detail)); got != internalError {
		t.Errorf("an unknown error is %v", got)
	}
	if Describe(nil) != nil {
		t.Error("no error has an answer")
	}
}

func TestAnswersToTheProxyItselfAreNoRefusalOfTheClient(t *testing.T) {
	t.Parallel()
	for _, own := range []error{system.ErrNotReady, bucketconfig.ErrUnavailable, system.ErrOwnCredential, system.ErrOwnRights, system.ErrNoBucket, storage.ErrUnreachable} {
		for _, code := range []string{"AccessDenied", "InvalidAccessKeyId", "NoSuchBucket"} {
			err := fmt.Errorf("%w (%w)", own, &storage.Error{Status: 403, Code: code})
			if got := Describe(err); got.Status != http.StatusServiceUnavailable || got.Code == code {
				t.Errorf("%v: the client is told %d %v", err, got.Status, got)
			}
		}
	}
}

func TestWrongDEKIsDamageAndWrongCustomerKeyIsTheClientsAffair(t *testing.T) {
	t.Parallel()
	if got := Describe(fmt.Errorf("open: %w", sse.ErrWrongKey)); got.Status != http.StatusForbidden {
		t.Errorf("a wrong customer key is %v", got)
	}
	err := keyring.Tampered(fmt.Errorf("%w (%w)", sse.ErrTampered, sse.ErrWrongKey))
	if got := Describe(err); got.Status != http.StatusInternalServerError {
		t.Errorf("a record that its own DEK does not open is %v", got)
	}
}

func TestUpstreamErrorsAreRelayedAndOthersReplaced(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		in     storage.Error
		status int
		code   string
	}{
		{"S3 error", storage.Error{Status: 404, Code: "NoSuchBucket"}, 404, "NoSuchBucket"},
		{"no code", storage.Error{Status: 404}, 404, "NoSuchKey"},
		{"forbidden without code", storage.Error{Status: 403}, 403, "AccessDenied"},
		{"a load balancer's 502", storage.Error{Status: 502}, 503, "SlowDown"},
		{"a load balancer's 503", storage.Error{Status: 503}, 503, "SlowDown"},
		{"a load balancer's 504", storage.Error{Status: 504}, 503, "SlowDown"},
		{"success as an error", storage.Error{Status: 200, Code: "Strange"}, 500, "InternalError"},
		{"an impossible status", storage.Error{Status: 999, Code: "Strange"}, 500, "InternalError"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := Describe(fmt.Errorf("ask: %w", &tt.in))
			if got.Status != tt.status || got.Code != tt.code {
				t.Errorf("got %d %s, want %d %s", got.Status, got.Code, tt.status, tt.code)
			}
		})
	}
}

func TestRelayedErrorsCarryChosenHeadersOnly(t *testing.T) {
	t.Parallel()
	in := &storage.Error{Status: 405, Code: "MethodNotAllowed", Header: storage.Metadata{
		"X-Amz-Delete-Marker": {"true"}, "X-Amz-Version-Id": {"v"}, "Etag": {`"upstream"`},
		"X-Amz-Meta-Bucketseal": {"record"}, "Set-Cookie": {"x"}, "X-Amz-Request-Id": {"1"},
	}}
	got := Describe(in).Header
	if got.Get("X-Amz-Delete-Marker") != "true" || got.Get("X-Amz-Version-Id") != "v" {
		t.Errorf("the delete marker is lost: %v", got)
	}
	for _, name := range []string{"Etag", "X-Amz-Meta-Bucketseal", "Set-Cookie", "X-Amz-Request-Id"} {
		if _, ok := got[name]; ok {
			t.Errorf("upstream's %s reaches the client", name)
		}
	}
}

func TestInvalidRuleShowsItsReason(t *testing.T) {
	t.Parallel()
	_, err := bucketconfig.ParseXML(strings.NewReader("<no"))
	got := Describe(fmt.Errorf("put rule: %w", err))
	if got.Status != 400 || got.Code != "MalformedXML" || !strings.HasSuffix(got.Message, ")") {
		t.Errorf("got %v", got)
	}
}

func TestWriteHeaderErrorsNameTheObjectAndTheReason(t *testing.T) {
	t.Parallel()
	r := &intake.Request{Bucket: "b", Key: "k"}
	for _, err := range []error{
		sse.ErrMethod, sse.ErrCustomerAlgorithm, sse.ErrCustomerKey, sse.ErrCustomerKeyMissing,
		sse.ErrCustomerMD5Missing, sse.ErrCustomerMD5Mismatch, sse.ErrHeaderContext, sse.ErrBucketKeyValue,
	} {
		got := Describe(writeHeaderError(r, err))
		want := "Invalid arguments provided for b/k: (" + err.Error() + ")"
		if got.Status != 400 || got.Code != "InvalidArgument" || got.Message != want {
			t.Errorf("%v is answered %v", err, got)
		}
	}
	if got := Describe(writeHeaderError(r, sse.ErrIncompatible)); got.Status != 400 || got.Message != sse.ErrIncompatible.Error() {
		t.Errorf("both kinds of encryption are answered %v", got)
	}
}

func TestReadHeaderErrorsTellThemselvesApart(t *testing.T) {
	t.Parallel()
	seen := make(map[string]error)
	for _, err := range []error{sse.ErrCustomerAlgorithm, sse.ErrCustomerKeyMissing, sse.ErrCustomerMD5Missing, sse.ErrCustomerMD5Mismatch} {
		got := Describe(readHeaderError(err))
		if got.Status != 400 || got.Code != "InvalidArgument" {
			t.Errorf("%v is answered %v", err, got)
		}
		if other, ok := seen[got.Message]; ok {
			t.Errorf("%v and %v are answered with the same words", err, other)
		}
		seen[got.Message] = err
	}
}

func TestCanceledAndTimedOutRequestsAreNotInternalErrors(t *testing.T) {
	t.Parallel()
	if got := Describe(fmt.Errorf("ask: %w", context.Canceled)); got.Status != 499 {
		t.Errorf("a client that went away is %v", got)
	}
	if got := Describe(fmt.Errorf("ask: %w", context.DeadlineExceeded)); got.Status != 503 {
		t.Errorf("a request that took too long is %v", got)
	}
}
