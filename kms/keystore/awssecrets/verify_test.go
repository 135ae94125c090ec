package awssecrets_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsapi"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsfake"
	"github.com/bucketseal/bucketseal/kms/keystore/awssecrets"
)

func TestStartFailureNamesWhatToChange(t *testing.T) {
	t.Parallel()
	const denied = "AccessDeniedException"
	tests := []struct {
		name   string
		opts   func(*awssecrets.Options)
		op     string
		fault  awsfake.Fault
		is     error
		saying []string
	}{
		{"list denied", nil, "ListSecrets", awsfake.Fault{Code: denied}, kms.ErrNotPermitted, []string{"missing permission", `secretsmanager:ListSecrets on "*"`}},
		{"read denied", nil, "GetSecretValue", awsfake.Fault{Code: denied}, kms.ErrNotPermitted, []string{"missing permission", "secretsmanager:GetSecretValue", ":secret:"}},
		{"kms decrypt denied", nil, "GetSecretValue", awsfake.Fault{Code: denied, Message: "Access to KMS is not allowed"}, kms.ErrNotPermitted, []string{"kms:Decrypt"}},
		{"kms key unusable", nil, "GetSecretValue", awsfake.Fault{Code: "DecryptionFailure"}, kms.ErrUnavailable, []string{"kms:Decrypt", "enabled"}},
		{"bad credentials", nil, "ListSecrets", awsfake.Fault{Code: "UnrecognizedClientException"}, kms.ErrNotPermitted, []string{".credentials", "does not accept"}},
		{"not secrets manager", nil, "ListSecrets", awsfake.Fault{Code: "UnknownOperationException"}, kms.ErrUnavailable, []string{"secretsmanager.endpoint", ".region"}},
		{"describe denied", withKey("key-1"), "DescribeKey", awsfake.Fault{Code: denied}, kms.ErrNotPermitted, []string{"missing permission", "kms:DescribeKey on key-1"}},
		{"kms is elsewhere", withKey("key-1"), "DescribeKey", awsfake.Fault{Code: "UnknownOperationException"}, kms.ErrUnavailable, []string{"kmsendpoint", "not AWS KMS"}},
		{"key missing", withKey("nokey"), "", awsfake.Fault{}, awsapi.ErrKeyUnusable, []string{"kmskey", `"nokey" does not exist`, awsfake.Region}},
		{"key disabled", withKey("disabled"), "", awsfake.Fault{}, awsapi.ErrKeyUnusable, []string{"kmskey", "state Disabled"}},
		{"key about to be deleted", withKey("pending"), "", awsfake.Fault{}, awsapi.ErrKeyUnusable, []string{"PendingDeletion"}},
		{"key signs", withKey("signer"), "", awsfake.Fault{}, awsapi.ErrKeyUnusable, []string{"SIGN_VERIFY", "symmetric encryption key"}},
		{"key elsewhere", withKey("arn:aws:kms:eu-west-1:1:key/key-1"), "", awsfake.Fault{}, awsapi.ErrKeyUnusable, []string{"kmskey", "eu-west-1", awsfake.Region}},
		{"half of the credentials", func(o *awssecrets.Options) { o.Credentials.SecretKey = "" }, "", awsfake.Fault{}, nil, []string{".credentials", "accesskey and secretkey"}},
		{"recovery days", func(o *awssecrets.Options) { o.RecoveryDays = 3 }, "", awsfake.Fault{}, awssecrets.ErrOptions, []string{"recovery_days", "between 7 and 30"}},
		{"prefix", func(o *awssecrets.Options) { o.Prefix = "!x" }, "", awsfake.Fault{}, awssecrets.ErrOptions, []string{".prefix"}},
		{"long prefix", func(o *awssecrets.Options) { o.Prefix = strings.Repeat("x", 500) }, "", awsfake.Fault{}, awssecrets.ErrOptions, []string{".prefix", "longer"}},
		{"tags", func(o *awssecrets.Options) { o.Tags = map[string]string{"aws:x": "y"} }, "", awsfake.Fault{}, awssecrets.ErrOptions, []string{".tags", "aws:x"}},
		{"endpoint with path", func(o *awssecrets.Options) { o.Endpoint = "https://host/path" }, "", awsfake.Fault{}, awssecrets.ErrOptions, []string{".endpoint"}},
		{"endpoint without .com", func(o *awssecrets.Options) { o.Endpoint = "secretsmanager.us-east-1.amazonaws" }, "", awsfake.Fault{}, awssecrets.ErrOptions, []string{".endpoint", ".amazonaws.com"}},
		{"kms endpoint", func(o *awssecrets.Options) { o.KMSEndpoint = "ftp://host" }, "", awsfake.Fault{}, awssecrets.ErrOptions, []string{".kmsendpoint"}},
		{"own section name", func(o *awssecrets.Options) { o.Section, o.RecoveryDays = "kms.keystore", 99 }, "", awsfake.Fault{}, awssecrets.ErrOptions, []string{"kms.keystore.recovery_days"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fake := awsfake.Start(t)
			fake.PutKey("key-1", awsfake.Key{})
			fake.PutKey("disabled", awsfake.Key{State: "Disabled"})
			fake.PutKey("pending", awsfake.Key{State: "PendingDeletion"})
			fake.PutKey("signer", awsfake.Key{Usage: "SIGN_VERIFY", Spec: "RSA_2048"})
			if tt.op != "" {
				fake.Inject(tt.op, tt.fault)
			}
			opts := testOptions(fake.URL)
			if tt.opts != nil {
				tt.opts(&opts)
			}
			_, err := awssecrets.Open(t.Context(), opts)
			if err == nil {
				t.Fatal("it started")
			}
			if tt.is != nil {
				wantErr(t, err, tt.is)
			}
			for _, text := range tt.saying {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
		})
	}
}

func withKey(key string) func(*awssecrets.Options) {
	return func(o *awssecrets.Options) { o.KMSKey = key }
}

func TestStartWithNobodyAtTheEndpoint(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().String()
	must(t, l.Close())
	opts := testOptions("http://" + addr)
	opts.Timeout = time.Second
	_, err = awssecrets.Open(t.Context(), opts)
	wantErr(t, err, kms.ErrUnavailable)
	if !strings.Contains(err.Error(), "endpoint") {
		t.Errorf("%q does not name the endpoint", err)
	}
}

func TestStartReadsAKeyOfItsOwnWhereThereIsOne(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	must(t, open(t, testOptions(fake.URL)).Create(t.Context(), "k", []byte("v")))
	fake.Inject("GetSecretValue", awsfake.Fault{Code: "ResourceNotFoundException", Times: 1}) // deleted meanwhile
	open(t, testOptions(fake.URL))
	fake.Inject("GetSecretValue", awsfake.Fault{Code: "DecryptionFailure"})
	_, err := awssecrets.Open(t.Context(), testOptions(fake.URL))
	wantErr(t, err, kms.ErrUnavailable)
}

func TestStartReadsForeignSecretsOnlyIfNothingElseMayBeRead(t *testing.T) {
	t.Parallel()
	fake := awsfake.Start(t)
	fake.PutSecret("kes-key", awsfake.Secret{String: kesRecord()})
	open(t, testOptions(fake.URL))
	if n := fake.Calls("GetSecretValue"); n != 1 {
		t.Errorf("%d reads", n)
	}
	// A policy that allows nothing but the one key.
	fake.Inject("GetSecretValue", awsfake.Fault{Code: "AccessDeniedException", Times: 1})
	open(t, testOptions(fake.URL))
	if n := fake.Calls("GetSecretValue"); n != 3 {
		t.Errorf("%d reads", n)
	}
}

func TestRegionAndCredentialsOfTheEnvironment(t *testing.T) {
	fake := awsfake.Start(t)
	isolate(t)
	opts := awssecrets.Options{Endpoint: fake.URL, Timeout: 2 * time.Second}
	_, err := awssecrets.Open(t.Context(), opts)
	if err == nil || !strings.Contains(err.Error(), "region") || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Fatalf("got %v", err)
	}
	t.Setenv("AWS_REGION", awsfake.Region)
	_, err = awssecrets.Open(t.Context(), opts)
	wantErr(t, err, kms.ErrNotPermitted)
	if !strings.Contains(err.Error(), "no AWS credentials found") || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Fatalf("got %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	open(t, opts)
}

// isolate hides the machine's own AWS settings, and the instance role.
func isolate(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
		"AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_CA_BUNDLE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent/config")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
}

// The environment may name another endpoint; AWS KMS must not stay at Amazon then,
// and get the same credentials.
func TestEndpointOfTheEnvironmentCountsForKMSToo(t *testing.T) {
	fake := awsfake.Start(t)
	fake.PutKey("key-1", awsfake.Key{})
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent/config")
	t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", fake.URL)
	opts := testOptions("")
	opts.KMSKey = "key-1"
	s, err := awssecrets.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if secrets, keys := s.Endpoints(); secrets != fake.URL || keys != fake.URL {
		t.Errorf("asked at %q and %q, want %q", secrets, keys, fake.URL)
	}
	t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://secrets.example.org")
	if _, err := awssecrets.Open(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "read on the way") {
		t.Errorf("keys would travel readable: %v", err)
	}
}
