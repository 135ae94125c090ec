package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"
)

const chart = "../bucketseal"

// helm runs the tool, which HELM_BIN names.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	bin := os.Getenv("HELM_BIN")
	if bin == "" {
		t.Skip("HELM_BIN is not set: make chart-test")
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+t.TempDir(), "HELM_CONFIG_HOME="+t.TempDir(), "HELM_DATA_HOME="+t.TempDir())
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	return out.String() + said.String(), err
}

// The least that a user has to give.
const (
	upstream   = `{config: {upstream: {endpoint: "http://minio:9000", credentials: {access_key: own, secret_key: "${SERVICE_SECRET}"}}, credentials: [{access_key: alice, secret_key: "${ALICE_SECRET}"}]}, existingSecret: proxy-secrets}`
	awsKeys    = `{config: {kms: {keystore: {aws: {secretsmanager: {region: eu-central-1}}}}}}`
	keyServer  = `{keyServer: {enabled: true, proxyIdentity: 3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22, existingSecret: kms-secrets, tls: {existingSecret: kms-tls}}}`
	everything = `{autoscaling: {enabled: true}, tls: {existingSecret: s3-tls}, service: {type: NodePort, nodePort: 30080}, image: {digest: "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", pullSecrets: [{name: pull}]},
 metrics: {serviceMonitor: {enabled: true, labels: {release: prom}}, prometheusRule: {enabled: true}, dashboard: {enabled: true}},
 networkPolicy: {clients: [{namespaceSelector: {}}], monitoring: [{namespaceSelector: {matchLabels: {name: monitoring}}}], egress: [{ports: [{port: 9000}], to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]},
 podLabels: {a: b}, podAnnotations: {c: d}, priorityClassName: high, nodeSelector: {disk: ssd}, tolerations: [{key: x, operator: Exists}], affinity: {podAntiAffinity: {}}, extraEnv: [{name: A, value: b}],
 extraEnvFrom: [{configMapRef: {name: more}}], extraVolumes: [{name: ca, secret: {secretName: minio-ca}}], extraVolumeMounts: [{name: ca, mountPath: /ca}], serviceAccount: {annotations: {role: x}}}`
	console     = `{console: {enabled: true, annotations: {a: b}}, tls: {existingSecret: s3-tls}, networkPolicy: {operators: [{podSelector: {matchLabels: {app: bastion}}}]}}`
	certManager = `{tls: {certManager: {enabled: true, issuerRef: {name: ca, kind: ClusterIssuer}, dnsNames: [s3.example.com]}}, keyServer: {tls: {existingSecret: ""}}}`
)

// sets are what people install, and how many objects of each kind they get.
var sets = map[string]struct {
	values []string
	want   map[string]int
}{
	"keys at AWS": {[]string{upstream, awsKeys}, map[string]int{"Deployment": 1, "Service": 2, "PodDisruptionBudget": 1, "NetworkPolicy": 1, "ConfigMap": 1, "ServiceAccount": 1}},
	"key server":  {[]string{upstream, keyServer}, map[string]int{"Deployment": 1, "StatefulSet": 1, "Service": 3, "NetworkPolicy": 2, "ConfigMap": 2}},
	"everything": {[]string{upstream, keyServer, everything}, map[string]int{
		"Deployment": 1, "StatefulSet": 1, "HorizontalPodAutoscaler": 1, "ServiceMonitor": 1, "PrometheusRule": 1, "ConfigMap": 3,
	}},
	"cert-manager":         {[]string{upstream, keyServer, certManager}, map[string]int{"Certificate": 2}},
	"key servers at AWS":   {[]string{upstream, keyServer, `{keyServer: {replicas: 2, config: {keystore: {aws: {secretsmanager: {region: eu-central-1}}}}}}`}, map[string]int{"StatefulSet": 1}},
	"console":              {[]string{upstream, awsKeys, console}, map[string]int{"Service": 3, "NetworkPolicy": 1}},
	"console behind TLS":   {[]string{upstream, awsKeys, `{console: {enabled: true, plainHTTP: true, session: 20m}}`}, map[string]int{"Service": 3}},
	"nothing that is more": {[]string{upstream, awsKeys, `{serviceAccount: {create: false}, podDisruptionBudget: {enabled: false}, networkPolicy: {enabled: false}}`}, map[string]int{"Deployment": 1, "Service": 2, "NetworkPolicy": 0, "ServiceAccount": 0, "PodDisruptionBudget": 0}},
}

// valueFlags writes values into files.
func valueFlags(t *testing.T, values []string) (flags []string) {
	t.Helper()
	for _, v := range values {
		file := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(file, []byte(v), 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, "--values", file)
	}
	return flags
}

func TestChartMakesObjectsThatKubernetesReads(t *testing.T) {
	t.Parallel()
	for name, set := range sets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			flags := valueFlags(t, set.values)
			if out, err := helm(t, append([]string{"lint", "--strict", chart}, flags...)...); err != nil {
				t.Errorf("helm lint: %v\n%s", err, out)
			}
			out, err := helm(t, append([]string{"template", "seal", chart, "--namespace", "storage", "--kube-version", "1.30.0"}, flags...)...)
			if err != nil {
				t.Fatalf("helm template: %v\n%s", err, out)
			}
			got := make(map[string]int)
			var ports portNames
			for doc := range strings.SplitSeq("\n"+out, "\n---") {
				if kind := decode(t, doc); kind != "" {
					got[kind]++
				}
				ports.note(t, doc)
			}
			ports.check(t)
			for kind, n := range set.want {
				if got[kind] != n {
					t.Errorf("%d of %s, want %d", got[kind], kind, n)
				}
			}
		})
	}
}

// decode reads one object strictly, and looks into it.
func decode(t *testing.T, doc string) (kind string) {
	t.Helper()
	var head struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
		t.Fatalf("%v:\n%s", err, doc)
	}
	if head.Kind == "" {
		return ""
	}
	if custom := customResource(head.APIVersion + " " + head.Kind); custom != nil {
		if err := yaml.UnmarshalStrict([]byte(doc), custom); err != nil {
			t.Errorf("%s: %v", head.Kind, err)
		}
		return head.Kind
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, policyv1.AddToScheme, networkingv1.AddToScheme, autoscalingv2.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	object, _, err := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer().Decode([]byte(doc), nil, nil)
	if err != nil {
		t.Errorf("%s: %v\n%s", head.Kind, err, doc)
		return head.Kind
	}
	switch o := object.(type) {
	case *corev1.ConfigMap:
		checkConfigurations(t, o.Data)
	case *appsv1.Deployment:
		checkPod(t, &o.Spec.Template)
	case *appsv1.StatefulSet:
		checkPod(t, &o.Spec.Template)
	}
	return head.Kind
}

// portNames are the names of ports: those that containers have, and those that services lead
// to and policies let through.
type portNames struct{ had, wanted []string }

func (p *portNames) note(t *testing.T, doc string) {
	t.Helper()
	var o struct {
		Kind string
		Spec struct {
			Ports    []struct{ TargetPort any }
			Ingress  []struct{ Ports []struct{ Port any } }
			Template struct {
				Spec struct {
					Containers []struct{ Ports []struct{ Name string } }
				}
			}
		}
	}
	if strings.Contains(doc, "kind: Service\n") || strings.Contains(doc, "kind: NetworkPolicy\n") || strings.Contains(doc, "template:\n") {
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range o.Spec.Template.Spec.Containers {
		for _, port := range c.Ports {
			p.had = append(p.had, port.Name)
		}
	}
	for _, port := range o.Spec.Ports {
		p.wanted = append(p.wanted, fmt.Sprint(port.TargetPort))
	}
	for _, rule := range o.Spec.Ingress {
		for _, port := range rule.Ports {
			p.wanted = append(p.wanted, fmt.Sprint(port.Port))
		}
	}
}

func (p *portNames) check(t *testing.T) {
	t.Helper()
	if len(p.wanted) < 2 {
		t.Errorf("services lead to %q only", p.wanted)
	}
	for _, name := range p.wanted {
		if !slices.Contains(p.had, name) {
			t.Errorf("a service or a policy is for the port %q; containers have %q", name, p.had)
		}
	}
}

// checkPod holds a pod to the "restricted" standard of Kubernetes, and its mounts to its volumes.
func checkPod(t *testing.T, pod *corev1.PodTemplateSpec) {
	t.Helper()
	s := pod.Spec.SecurityContext
	if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod may run as root, or calls what it wants: %v", s)
	}
	volumes := make(map[string]bool)
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
	}
	for _, c := range pod.Spec.Containers {
		cs := c.SecurityContext
		if cs == nil || *cs.AllowPrivilegeEscalation || !*cs.ReadOnlyRootFilesystem || len(cs.Capabilities.Drop) != 1 || cs.Capabilities.Drop[0] != "ALL" {
			t.Errorf("%s is not confined: %v", c.Name, cs)
		}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] && m.Name != "keys" {
				t.Errorf("%s mounts %q, which is no volume", c.Name, m.Name)
			}
		}
		for _, e := range c.EnvFrom {
			if e.SecretRef == nil && e.ConfigMapRef == nil {
				t.Errorf("%s: variables from nothing", c.Name)
			}
		}
		for _, image := range []string{c.Image} {
			if strings.HasSuffix(image, ":latest") || !strings.ContainsAny(image, ":@") {
				t.Errorf("%s: the image %q may be any", c.Name, image)
			}
			if !strings.Contains(image, "@") && !strings.Contains(image, ":v") {
				t.Errorf("%s: the image %q is none that a release pushes: its tag is that of git", c.Name, image)
			}
		}
	}
}

// checkConfigurations has bucketseal read its files. What they refer to is not there, which
// config check does not ask for.
func checkConfigurations(t *testing.T, data map[string]string) {
	t.Helper()
	for name, text := range data {
		if name == "bucketseal.json" {
			if !json.Valid([]byte(text)) {
				t.Errorf("the dashboard is no JSON")
			}
			continue
		}
		bin := os.Getenv("BUCKETSEAL_BIN")
		if bin == "" {
			t.Log("BUCKETSEAL_BIN is not set: configurations are not checked")
			return
		}
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"config", "check", file}
		if name == "kes.yml" {
			args = append([]string{"kms"}, args...)
		}
		cmd := exec.Command(bin, args...)
		cmd.Env = []string{
			"SERVICE_SECRET=0123456789", "ALICE_SECRET=0123456789", "MINIO_KES_API_KEY=kes:v1:AGaV6VXHasF0FnaB60WM2NdrJKaFLS8q2YVQSNNTFDBu",
			"BUCKETSEAL_MASTER_KEY=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
		}
		if out, err := cmd.CombinedOutput(); err != nil && !onlyMissingFiles(string(out)) {
			t.Errorf("%v: %v\n%s\n%s", args, err, out, text)
		}
	}
}

// onlyMissingFiles says whether all that is wrong is that certificates are not here.
func onlyMissingFiles(out string) bool {
	for line := range strings.SplitSeq(strings.TrimSpace(out), "\n") {
		if !strings.Contains(line, "no such file or directory") && !strings.Contains(line, "warning") {
			return false
		}
	}
	return true
}

// What cannot work is refused when the chart is rendered, and says what to do.
func TestChartRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		values []string
		says   string
	}{
		"nothing":                 {[]string{`{}`}, "config.upstream.endpoint"},
		"no keys":                 {[]string{upstream}, "keys are needed"},
		"no identity":             {[]string{upstream, keyServer, `{keyServer: {proxyIdentity: ""}}`}, "proxyIdentity"},
		"no certificate":          {[]string{upstream, keyServer, `{keyServer: {tls: {existingSecret: ""}}}`}, "keyServer.tls.existingSecret"},
		"two servers on a volume": {[]string{upstream, keyServer, `{keyServer: {replicas: 2}}`}, "keyServer.replicas"},
		"no issuer":               {[]string{upstream, awsKeys, `{tls: {certManager: {enabled: true}}}`}, "issuerRef"},
		"a value that is unknown": {[]string{upstream, awsKeys, `{replicaCount: 2}`}, "replicaCount"},
		"a wrong type":            {[]string{upstream, awsKeys, `{replicas: "2"}`}, "replicas"},
		"a readable console":      {[]string{upstream, awsKeys, `{console: {enabled: true}}`}, "console.plainHTTP"},
		"a port twice":            {[]string{upstream, awsKeys, `{console: {enabled: true, plainHTTP: true, port: 9100}}`}, "console.port"},
		"half a digest":           {[]string{upstream, awsKeys, `{image: {digest: "sha256:12"}}`}, "digest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := helm(t, append([]string{"template", "seal", chart, "--kube-version", "1.30.0"}, valueFlags(t, test.values)...)...)
			if err == nil || !strings.Contains(out, test.says) {
				t.Errorf("%v: want %q in\n%.1500s", err, test.says, out)
			}
		})
	}
}

// The chart carries copies of the rules and the dashboard, because helm reads no file
// outside of it.
func TestChartCarriesTheRulesAndTheDashboard(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"rules.yml", "dashboard.json"} {
		original, err := os.ReadFile(filepath.Join("../../observability", name))
		if os.IsNotExist(err) {
			t.Skip("deploy/observability is not there")
		}
		if err != nil {
			t.Fatal(err)
		}
		copied, err := os.ReadFile(filepath.Join(chart, "files", name))
		if err != nil || !bytes.Equal(copied, original) {
			t.Errorf("files/%s is not deploy/observability/%s: make chart-docs (%v)", name, name, err)
		}
	}
}
