"""Objects that the tests of the cluster itself apply."""

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: kettles.tests.herald.dev
spec:
  group: tests.herald.dev
  names: {kind: Kettle, listKind: KettleList, plural: kettles, singular: kettle}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              x-kubernetes-validations:
                - rule: self.filled <= self.holds
                  message: a kettle cannot be fuller than full
              properties:
                filled: {type: integer}
                holds: {type: integer}
"""


def kettle(name: str, namespace: str, filled: int) -> str:
    return f"""
apiVersion: tests.herald.dev/v1
kind: Kettle
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{filled: {filled}, holds: 2}}
"""


def config_map(name: str, namespace: str, *, owner: str = "", uid: str = "") -> str:
    owners = f"ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: {owner}, uid: {uid}}}]" if owner else ""
    return f"""
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}
  namespace: {namespace}
  {owners}
data: {{word: kept}}
"""


def namespace(name: str, level: str) -> str:
    """One that takes only pods of this pod security standard."""
    return f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {name}, labels: {{pod-security.kubernetes.io/enforce: {level}}}}}
"""


POD_SECURITY = "{runAsNonRoot: true, runAsUser: 1000, fsGroup: 2000, seccompProfile: {type: RuntimeDefault}}"
CONTAINER_SECURITY = "{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}"


def pod(name: str, namespace: str, *, restricted: bool) -> str:
    own, inside = (POD_SECURITY, CONTAINER_SECURITY) if restricted else ("{}", "{privileged: true}")
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  securityContext: {own}
  containers: [{{name: main, image: "localhost/nothing:1", securityContext: {inside}}}]
"""


def store(namespace: str, image: str, replicas: int) -> str:
    """An etcd on a volume of its own, as a stand-in for anything that keeps something; and its service."""
    return f"""
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: store, namespace: {namespace}}}
spec:
  replicas: {replicas}
  podManagementPolicy: Parallel
  serviceName: store
  selector: {{matchLabels: {{app: store}}}}
  template:
    metadata: {{labels: {{app: store}}}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {POD_SECURITY}
      containers:
        - name: etcd
          image: {image}
          imagePullPolicy: Never
          args: [etcd, --data-dir=/data/etcd, "--listen-client-urls=http://0.0.0.0:2379",
                 "--advertise-client-urls=http://127.0.0.1:2379"]
          securityContext: {CONTAINER_SECURITY}
          resources: {{limits: {{memory: 256Mi}}}}
          readinessProbe: {{httpGet: {{path: /health, port: 2379}}, periodSeconds: 1}}
          volumeMounts: [{{name: data, mountPath: /data}}]
  volumeClaimTemplates:
    - metadata: {{name: data}}
      spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: store, namespace: {namespace}}}
spec: {{selector: {{app: store}}, ports: [{{port: 80, targetPort: 2379}}]}}
"""
